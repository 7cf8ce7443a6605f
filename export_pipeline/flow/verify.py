"""The proof of completeness: a finished file is read again from where it was delivered, by another library, and what
its rows add up to is compared with what was read from the source.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.compress import compression_of, decompress
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.plan import Plan, make_plan
from export_pipeline.flow.proof import Proof, compare
from export_pipeline.flow.publish import read_manifest
from export_pipeline.model.dataset import Column, parse_type
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import Broken, Rejected, Unproven
from export_pipeline.model.format import Compression, Format, Options
from export_pipeline.model.job import ExportFile, ExportJob, Status
from export_pipeline.model.verification import Certificate, Verification, Verify

#: What of a manifest's entry makes an `ExportFile`.
_KEPT = ("bytes", "sha256", "rows", "media_type", "certificate")


def outcome_of(extent: Verify) -> Verification:
    """What a comparison without a difference proves."""
    return {
        Verify.FULL: Verification.PASSED,
        Verify.SAMPLE: Verification.SAMPLED,
        Verify.OFF: Verification.OFF,
    }[extent]


def verify_delivered(destination: Destination, files: Sequence[ExportFile], plan: Plan, attempt: Attempt) -> None:
    """Reads as much of the files back from the destination as was planned. Raises Broken where one is not what was
    written, Cancelled."""
    if plan.extent is Verify.OFF:
        return
    for file in files:
        try:
            with _fetched(destination, file, attempt) as path:
                verify_file(
                    path,
                    file,
                    attempt,
                    columns=plan.columns,
                    form=plan.format,
                    options=plan.options,
                    extent=plan.extent,
                )
        except Broken as error:
            raise Unproven(f"{error}; nothing was delivered") from error


def verify_file(
    path: Path,
    file: ExportFile,
    attempt: Attempt,
    *,
    columns: tuple[Column, ...],
    form: Format,
    options: Options,
    extent: Verify,
) -> None:
    """Compares a file that lies here with its certificate. Raises Broken, Cancelled."""
    assert form.reader is not None and file.certificate is not None
    with _unpacked(path, options) as plain:
        limit = file.certificate.head_rows if extent is Verify.SAMPLE else None
        proof = Proof(columns)
        for batch in form.reader.rows(plain, columns, options, limit):
            attempt.check()
            proof.add(batch)
        found = proof.certificate()
        if extent is Verify.SAMPLE:
            found = _with_rows(found, form.reader.count(plain, columns, options))
    compare(file.certificate, found, extent=extent)


def verify_again(engine: Engine, job: ExportJob, extent: Verify, attempt: Attempt) -> int:
    """Reads a completed export's files back once more. Returns how many rows they have. Raises Rejected where there is
    nothing to compare, Unproven."""
    plan = replace(make_plan(engine, job.request, job.created_at), extent=extent)
    if job.status is not Status.COMPLETED:
        raise Rejected(f"the export {job.id} is {job.status.value}: there is no file to verify")
    if plan.format.reader is None or not all(file.certificate for file in job.files):
        raise Rejected(f"a file of the format {plan.format.name} cannot be read back and verified")
    destination = engine.destination(job.request.destination)
    # Not all that were asked for may have been for the requester.
    names = [column["name"] for column in read_manifest(destination, job)["columns"]]
    columns = tuple(column for column in plan.columns if column.name in names)
    plan = replace(plan, selection=replace(plan.selection, columns=columns))
    verify_delivered(destination, job.files, plan, attempt)
    return job.rows or 0


def verify_copy(
    path: Path, manifest: Path, formats: Mapping[str, Format], extent: Verify | None, attempt: Attempt
) -> tuple[int, Verification]:
    """Compares a file that somebody holds with its manifest; nothing else is needed. Returns how many rows it has and
    what was proven. Raises Rejected where they do not belong together, Unproven."""
    document, entry = _entry_of(path, manifest)
    form = formats.get(document["format"])
    if form is None or form.reader is None or not entry["certificate"]:
        raise Rejected(f"a file of the format {document['format']} cannot be read back and verified")
    file = ExportFile.of({name: entry[name] for name in _KEPT if name in entry} | {"key": path.name, "url": str(path)})
    chosen = extent or form.reader.usual
    try:
        _check_bytes(path, file)
        columns = tuple(Column(item["name"], parse_type(item["type"]), "", "") for item in document["columns"])
        options = form.options.model_validate(document["options"])
        verify_file(path, file, attempt, columns=columns, form=form, options=options, extent=chosen)
    except Broken as error:
        raise Unproven(str(error)) from error
    return file.rows, outcome_of(chosen)


def _entry_of(path: Path, manifest: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifest, and what it says about the file."""
    try:
        document = json.loads(manifest.read_bytes())
        files = [item for item in document["files"] if item["name"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise Rejected(f"{manifest} is no manifest; name the one that was delivered with the file") from None
    entry = next((item for item in files if item["name"] == path.name), files[0] if len(files) == 1 else None)
    if entry is None:
        raise Rejected(
            f"{manifest} says nothing about {path.name}; its files are: {', '.join(f['name'] for f in files)}"
        )
    return document, entry


def _check_bytes(path: Path, file: ExportFile) -> None:
    with path.open("rb") as source:
        found = hashlib.file_digest(source, "sha256").hexdigest()
    if found != file.sha256:
        raise Broken(
            f"{path.name} is not the file that was delivered: its SHA-256 differs ({path.stat().st_size:,} bytes)"
        )


def _with_rows(found: Certificate, rows: int) -> Certificate:
    return Certificate(**(vars(found) | {"rows": rows}))


@contextmanager
def _fetched(destination: Destination, file: ExportFile, attempt: Attempt) -> Iterator[Path]:
    """The delivered object in a temporary file, whose bytes are those that were written. Raises Broken."""
    with TemporaryDirectory(prefix="export-") as folder:
        path = Path(folder, file.key.rpartition("/")[2])
        digest = hashlib.sha256()
        with path.open("wb") as target:
            for chunk in destination.read(file.key):
                attempt.check()
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise Broken(f"what {file.url} holds is not what was written: its SHA-256 differs")
        yield path


@contextmanager
def _unpacked(path: Path, options: Options) -> Iterator[Path]:
    compression = compression_of(options)
    if compression is Compression.NONE:
        yield path
        return
    with TemporaryDirectory(prefix="export-") as folder:
        plain = Path(folder, path.stem)
        decompress(path, plain, compression)
        yield plain
