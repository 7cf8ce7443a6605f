"""Manifests as somebody hands them in again: whoever holds one may have changed it, so all that the proof needs is
checked before anything is compared.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from export_pipeline.model.dataset import parse_type
from export_pipeline.model.errors import Rejected, Unproven
from export_pipeline.model.format import Format
from export_pipeline.model.job import ExportFile


def _type(text: str) -> str:
    parse_type(text)
    return text


def _number(text: str) -> str:
    float(text)
    return text


_Count = Annotated[int, Field(ge=0)]


class _Said(BaseModel):
    """What else is there does not matter."""

    model_config = ConfigDict(strict=True)


class _Certificate(_Said):
    model_config = ConfigDict(strict=True, extra="forbid")

    algorithm: str
    rows: _Count
    nulls: dict[str, _Count]
    sums: dict[str, Annotated[str, AfterValidator(_number)]]
    fingerprint: str
    head_rows: _Count
    head_fingerprint: str


class _Entry(_Said):
    name: str
    bytes: _Count
    sha256: str
    rows: _Count
    media_type: str
    certificate: _Certificate | None = None
    members: list["_Entry"] = []


class _Column(_Said):
    name: str
    type: Annotated[str, AfterValidator(_type)]


class _Part(_Said):
    format: str
    options: dict[str, Any]
    columns: list[_Column]
    files: list[str]


class _Manifest(_Said):
    format: str
    options: dict[str, Any]
    rows: _Count
    files: Annotated[list[_Entry], Field(min_length=1)]
    columns: list[_Column] = []
    datasets: list[_Part] = []

    @model_validator(mode="after")
    def _has_columns(self) -> Self:
        if not self.columns and not self.datasets:
            raise ValueError("columns are missing")
        return self


def parse_manifest(data: bytes, name: str) -> dict[str, Any]:
    """The manifest of this name. Raises Rejected for anything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not {"format", "files"} <= document.keys():
        raise Rejected(f"{name} is no manifest; name the one that was delivered with the file")
    return document


def check_manifest(document: Mapping[str, Any], name: str, formats: Mapping[str, Format]) -> None:
    """Raises Rejected where the manifest lacks what is needed to verify its files, or says it otherwise than we do."""
    try:
        _Manifest.model_validate(document)
        for part in (document, *document.get("datasets", ())):
            if part["format"] not in formats:
                raise Rejected(f"{name} names a format that there is not: {part['format']!r}")
            formats[part["format"]].options.model_validate(part["options"])
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False)
        place = ".".join(str(part) for part in first["loc"])
        raise Rejected(
            f"{name} does not say what is needed to verify its files: at {place or 'options'}, {first['msg'].lower()}"
        ) from None


def files_of(document: Mapping[str, Any]) -> list[ExportFile]:
    """The files that a manifest tells of. Raises Unproven where they have not the rows that it says."""
    files = [ExportFile.of(_known(entry)) for entry in document["files"]]
    check_sum("the manifest", document["rows"], files)
    return files


def check_sum(whole: str, rows: int, parts: list[ExportFile] | tuple[ExportFile, ...]) -> None:
    """Raises Unproven where the parts have other rows together than the whole is said to have."""
    total = sum(part.rows for part in parts)
    if total != rows:
        raise Unproven(f"{whole} says {rows:,} rows, and what is in it has {total:,}")


def _known(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's entry as `ExportFile.of` takes it."""
    kept = {name: entry[name] for name in ("bytes", "sha256", "rows", "media_type")}
    members = [_known(member) for member in entry.get("members", ())]
    return {"key": entry["name"], "url": "", **kept, "certificate": entry.get("certificate"), "members": members}
