"""Where an attempt's files lie, and the manifest that makes them an export: it is written last.

No key holds personal data or a campaign's name. The attempt's number is in the key, so that an attempt that was given
up and still runs cannot overwrite what a later one delivered.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC
from importlib.metadata import version
from typing import Any

from export_pipeline import __version__
from export_pipeline.flow.manifests import parse_manifest
from export_pipeline.flow.plan import Order, Plan
from export_pipeline.model.destination import Destination
from export_pipeline.model.job import ExportFile, ExportJob, Outcome

MANIFEST = "manifest.json"
#: What a package says to people about its files.
README = "README.txt"
_PARTS_NAMED = ("dagster", "polars", "adbc-driver-postgresql")


def attempt_prefix(s3_prefix: str, job: ExportJob) -> str:
    """The folder of an attempt's files, ending in `/`. The day is that of the request, in UTC."""
    day = job.created_at.astimezone(UTC)
    start = f"{s3_prefix.strip('/')}/" if s3_prefix.strip("/") else ""
    return f"{start}{job.request.label}/{day:%Y/%m/%d}/{job.id}/{job.attempt}/"


def file_name(job: ExportJob, order: Order) -> str:
    """The file's name: the export's id, and the range where one was asked for."""
    first = order.plans[0]
    period = f"_{first.selection.span.name}" if first.selection.span.name else ""
    return f"export_{job.id}{period}.{order.container.extension if order.container else first.extension}"


def member_name(order: Order, plan: Plan) -> str:
    """The name of a plan's file in the package; in a workbook, which has none, its dataset's."""
    name = plan.selection.dataset.name
    return f"{name}.{plan.extension}" if order.container and order.container.archiver else name


def manifest(job: ExportJob, order: Order, outcome: Outcome) -> dict[str, Any]:
    """What the files are, for whoever receives them. Values of filters are the selection's; nobody is named. Of a
    package, each dataset's part tells the names of its files, and which dataset it is `of` where it has a name of its
    own."""
    document: dict[str, Any] = {
        "export_id": job.id,
        "attempt": job.attempt,
        "snapshot_at": outcome.snapshot_at.astimezone(UTC).isoformat(),
    }
    if order.container is None or order.options is None:
        document |= part_of(order.plans[0])
    else:
        document |= {
            "dataset": job.request.dataset,
            "format": order.container.name,
            "options": order.options.model_dump(mode="json"),
            "datasets": [part_of(plan) | {"files": [member_name(order, plan)]} for plan in order.plans],
        }
    return document | {
        "rows": sum(file.rows for file in outcome.files),
        "verification": outcome.verification.value,
        "files": [_entry(file) for file in outcome.files],
        "versions": _versions(),
    }


def discreet(document: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest for beside an encrypted package: without what tells of its contents, which the one inside holds."""
    if not document["options"].get("password"):
        return dict(document)
    files = [{name: value for name, value in file.items() if name != "members"} for file in document["files"]]
    inside = ("filters", "conditions")
    parts = [{name: value for name, value in part.items() if name not in inside} for part in document["datasets"]]
    return {**document, "files": files, "datasets": parts}


def part_of(plan: Plan) -> dict[str, Any]:
    """What a manifest says about one dataset."""
    selection = plan.selection
    masks = {mask.column.name: dict(mask.described) for mask in selection.masks}
    return {
        "dataset": selection.dataset.name,
        **({"of": selection.dataset.of} if selection.dataset.of else {}),
        "title": selection.dataset.title,
        "format": plan.format.name,
        "options": plan.options.model_dump(mode="json"),
        "filters": dict(selection.described),
        "conditions": [condition.told for condition in selection.conditions],
        "sort": [item.told for item in selection.sort],
        "truncated": plan.truncated or None,
        "with_referenced": bool(selection.dated and selection.referenced),
        "scope": selection.scope,
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "sensitivity": column.sensitivity.value,
                "description": column.description,
                **({"of": list(column.of)} if column.of else {}),
                **({"mask": masks[column.name]} if column.name in masks else {}),
            }
            for column in plan.columns
        ],
        "left_out": [
            {"name": column.name, "reason": selection.why_left_out[column.name]} for column in selection.left_out
        ],
    }


def _entry(file: ExportFile) -> dict[str, Any]:
    members = {"members": [_entry(member) for member in file.members]} if file.members else {}
    return {
        "name": file.key.rpartition("/")[2],
        "bytes": file.bytes,
        "sha256": file.sha256,
        "rows": file.rows,
        "media_type": file.media_type,
        "certificate": vars(file.certificate) if file.certificate else None,
        **members,
    }


def document_of(document: Mapping[str, Any]) -> bytes:
    """The manifest as it is written."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def publish_manifest(destination: Destination, prefix: str, document: bytes) -> None:
    """Writes the manifest beside its files, and makes sure that it is there."""
    key = f"{prefix}{MANIFEST}"
    with destination.open(key, media_type="application/json", filename=MANIFEST) as target:
        target.write(document)
    destination.confirm(key, bytes=len(document), sha256=hashlib.sha256(document).hexdigest())


def read_manifest(destination: Destination, job: ExportJob) -> dict[str, Any]:
    """The manifest of a completed export. Raises Transient, Broken, and Rejected where it is none any more."""
    folder = job.files[0].key.rpartition("/")[0]
    return parse_manifest(b"".join(destination.read(f"{folder}/{MANIFEST}")), MANIFEST)


def _versions() -> Mapping[str, str]:
    return {"export_pipeline": __version__, "python": platform.python_version()} | {
        name: version(name) for name in _PARTS_NAMED
    }
