"""The proof of completeness: a finished file is read again from where it was delivered, by another library, and what
its rows add up to is compared with what was read from the source.

A manifest says all that this needs, so that whoever holds a file and its manifest can do it again.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.compress import compression_of
from export_pipeline.flow.content import FileContent, StoredContent, UnpackedContent, compare_bytes
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.manifests import check_manifest, check_sum, files_of, parse_manifest
from export_pipeline.flow.proof import Proof, compare
from export_pipeline.flow.publish import MANIFEST, read_manifest
from export_pipeline.model.archive import Archiver
from export_pipeline.model.dataset import Column, parse_type
from export_pipeline.model.destination import Destination
from export_pipeline.model.errors import Broken, Rejected, Unproven
from export_pipeline.model.format import Compression, Format
from export_pipeline.model.job import ExportFile, ExportJob, Status
from export_pipeline.model.verification import Content, CountRows, ReadRows, Verification, Verify
from export_pipeline.staging import staging_folder

#: Tells the password of a name.
Password = Callable[[str], bytes | None]
_PROVEN = {Verify.FULL: Verification.PASSED, Verify.SAMPLE: Verification.SAMPLED}


class Verifier:
    """Compares files with what their manifest says. `extent`: at most so much; None: as much as it lets."""

    def __init__(
        self,
        document: Mapping[str, Any],
        formats: Mapping[str, Format],
        attempt: Attempt,
        *,
        password: Password,
        extent: Verify | None = None,
    ) -> None:
        self._document = document
        self._formats = formats
        self._attempt = attempt
        self._password = password
        self._extent = extent

    def check_wanted(self) -> None:
        """Raises Cancelled once nobody wants to know any more."""
        self._attempt.check()

    def check(self, content: Content, file: ExportFile) -> Verification:
        """Compares what is in a file, or in each file in it. Raises Unproven, Rejected, Cancelled."""
        archiver = self._formats[self._document["format"]].archiver
        try:
            if archiver is not None:
                with content.file() as path:
                    return self._check_archive(path, archiver, file)
            if file.members:
                check_sum(file.key, file.rows, file.members)
                return combined(
                    [
                        self._compare(content, member, self._part_of(member), place)
                        for place, member in enumerate(file.members)
                    ]
                )
            return self._compare(content, file, self._document)
        except Broken as error:
            raise Unproven(str(error)) from error

    def _check_archive(self, archive: Path, archiver: Archiver, file: ExportFile) -> Verification:
        """Compares the archive's files with the manifest in it."""
        name = self._document["options"].get("password", "")
        password = self._password(name) if name else None
        with staging_folder() as folder:
            # Not by their own names, which are somebody else's words.
            path = folder / "file"
            try:
                archiver.extract(archive, MANIFEST, path, password)
            except Rejected:
                if not name:
                    raise
                wrong = "is missing" if password is None else "is not the one that the package was encrypted with"
                raise Rejected(f"the password {name} in EXPORT_ZIP_PASSWORDS {wrong}; have it put there") from None
            document = parse_manifest(path.read_bytes(), f"{MANIFEST} in {file.key}")
            check_manifest(document, f"{MANIFEST} in {file.key}", self._formats)
            members = files_of(document)
            check_sum(file.key, file.rows, members)
            inner = Verifier(
                document,
                self._formats,
                self._attempt,
                password=self._password,
                extent=self._extent,
            )
            proofs = []
            for member in members:
                self.check_wanted()
                archiver.extract(archive, member.key, path, password)
                _check_bytes(path, member)
                proofs.append(inner._compare(FileContent(path), member, inner._part_of(member)))
        return combined(proofs)

    def _part_of(self, member: ExportFile) -> Mapping[str, Any]:
        found = next((item for item in self._document["datasets"] if member.key in item["files"]), None)
        if found is None:
            raise Broken(f"the manifest does not say what {member.key} holds")
        return found  # type: ignore[no-any-return]

    def _compare(
        self, content: Content, file: ExportFile, block: Mapping[str, Any], place: int | None = None
    ) -> Verification:
        """Compares a file, or, of one that holds several datasets, the one at the place."""
        form = self._formats.get(block["format"])
        expected, reader = file.certificate, form.reader if form is not None else None
        if expected is None or form is None or reader is None:
            return Verification.OFF
        if expected.rows != file.rows:
            raise Broken(f"{file.key} is said to have {file.rows:,} rows, and {expected.rows:,} were added up")
        if place is not None and reader.part is not None:
            reader = reader.part(place)
        extent = Verify.SAMPLE if self._extent is Verify.SAMPLE or not expected.fingerprint else Verify.FULL
        columns = tuple(Column(item["name"], parse_type(item["type"]), "", "") for item in block["columns"])
        options = form.options.model_validate(block["options"])
        compression = compression_of(options)
        if compression is not Compression.NONE:
            content = UnpackedContent(content, compression)
        limit = expected.head_rows if extent is Verify.SAMPLE else None

        def comparable(rows: ReadRows, count: CountRows) -> bool:
            proof = Proof(columns, extent)
            for batch in rows(content, columns, options, limit):
                self._attempt.check()
                proof.add(batch)
            found = proof.certificate()
            if extent is Verify.SAMPLE:
                found = replace(found, rows=count(content, columns, options))
            return compare(expected, found, extent=extent)

        try:
            passed = comparable(reader.rows, reader.count)
        except Broken:
            if reader.exact is None:
                raise
            passed = comparable(*reader.exact)
        return _PROVEN[extent] if passed else Verification.SAMPLED


def combined(parts: list[Verification]) -> Verification:
    """What is proven of several files: where not all are proven alike, no more than of a sample."""
    return parts[0] if len(set(parts)) == 1 else Verification.SAMPLED


def verify_delivered(
    destination: Destination, files: tuple[ExportFile, ...], verifier: Verifier, *, again: bool = False
) -> Verification:
    """Reads files back from where they were delivered, those whose rows were not added up only `again`: for their
    bytes. Raises Unproven where one is not what was written."""
    proofs = []
    for file in files:
        if again or _is_added_up(file):
            proofs.append(_check_stored(destination, file, verifier))
        else:
            proofs.append(Verification.OFF)
    return combined(proofs)


def _is_added_up(file: ExportFile) -> bool:
    return file.certificate is not None or any(member.certificate for member in file.members)


def _check_stored(destination: Destination, file: ExportFile, verifier: Verifier) -> Verification:
    """Raises what `Verifier.check` raises, and Unproven where the bytes are others than were delivered."""
    with StoredContent(destination, file, verifier.check_wanted) as content:
        try:
            proven = verifier.check(content, file) if _is_added_up(file) else Verification.OFF
        except Unproven:
            if content.failure is not None:
                raise content.failure from None
            # Other bytes are the better answer than whatever they made of the rows.
            content.check()
            raise
        content.check()
    return proven


def verify_again(engine: Engine, job: ExportJob, extent: Verify | None, attempt: Attempt) -> Verification:
    """Reads a completed export's files back once more; `off` means that their bytes are those that were delivered,
    which is all that there is to compare where nothing was added up. Raises Rejected where there are no files or no
    manifest, Unproven, Transient, and Broken where a file is gone."""
    if job.status is not Status.COMPLETED:
        raise Rejected(f"the export {job.id} is {job.status.value}: there is no file to verify")
    destination = engine.destination(job.request.destination)
    files = tuple(file for file in job.files if file.deletions is None)
    folder = job.files[0].key.rpartition("/")[0]
    for key in (f"{folder}/{MANIFEST}", *(file.key for file in files)):
        if destination.stat(key) is None:
            raise Broken(f"{key} is not, or no longer, where the export {job.id} was delivered")
    document = read_manifest(destination, job)
    check_manifest(document, MANIFEST, engine.formats)
    if [_said(file) for file in files_of(document)] != [_said(file) for file in files]:
        raise Unproven(f"{MANIFEST} at the destination says other than what was delivered; it was changed since")
    verifier = Verifier(document, engine.formats, attempt, password=engine.settings.zip_password, extent=extent)
    return verify_delivered(destination, files, verifier, again=True)


def _said(file: ExportFile) -> tuple[Any, ...]:
    """What a manifest says of a file, also where it says nothing of what is in it."""
    return file.key.rpartition("/")[2], file.bytes, file.sha256, file.rows, file.certificate


def verify_copy(
    path: Path,
    manifest: Path,
    formats: Mapping[str, Format],
    *,
    password: Password,
    extent: Verify | None = None,
) -> tuple[int, Verification]:
    """Compares a file that somebody holds with its manifest; nothing else is needed. Returns how many rows it has and
    what was proven; `off`: that its bytes are those that were delivered. Raises Rejected where they do not belong
    together, Unproven."""
    document, file = _read(path, manifest, formats)
    verifier = Verifier(document, formats, Attempt("verify", 1), password=password, extent=extent)
    _check_bytes(path, file)
    return file.rows, verifier.check(FileContent(path), file)


def _read(path: Path, manifest: Path, formats: Mapping[str, Format]) -> tuple[dict[str, Any], ExportFile]:
    """The manifest, and the file as it describes it."""
    try:
        data = manifest.read_bytes()
    except FileNotFoundError:
        raise Rejected(
            f"{manifest} does not exist; name the manifest that was delivered with the file by --manifest"
        ) from None
    except OSError as error:
        raise Rejected(f"{manifest} cannot be read: {error.strerror}") from None
    document = parse_manifest(data, str(manifest))
    check_manifest(document, str(manifest), formats)
    files = files_of(document)
    found = next((file for file in files if file.key == path.name), files[0] if len(files) == 1 else None)
    if found is None:
        names = ", ".join(file.key for file in files)
        raise Rejected(f"{manifest} says nothing about {path.name}; its files are: {names}")
    return document, found


def _check_bytes(path: Path, file: ExportFile) -> None:
    with path.open("rb") as source:
        compare_bytes(hashlib.file_digest(source, "sha256").hexdigest(), path.stat().st_size, file)
