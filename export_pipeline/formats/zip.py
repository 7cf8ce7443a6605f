"""ZIP: one file that holds several, each compressed while it is written; with AES where a password is asked for.

Sizes and checksums follow each file's contents, so that nothing has to be known, or kept, before; files and archives
may be larger than 4 GiB. What is compressed already is stored as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, Self, cast

from pydantic import Field, model_validator

from export_pipeline.deflate import USUAL_LEVEL, deflate_entry
from export_pipeline.model.archive import Archiver
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.format import Format, Options

if TYPE_CHECKING:
    import pyzipper

#: ZIP has no time before this year.
_FIRST_YEAR = 1980


class ZipOptions(Options):
    """What can be chosen for a ZIP package."""

    files: str = Field(
        "csv",
        description="The format of each dataset's file, or several with commas between them, where the dataset's name "
        "does not say, as in `contacts:parquet`.",
    )
    profile: Literal["spreadsheet", "raw"] = Field("spreadsheet", description="The profile of its CSV and TSV files.")
    password: str = Field(
        "",
        description="Encrypts with AES-256, with the password of this name in EXPORT_ZIP_PASSWORDS. Never the password "
        "itself.",
    )
    compression_level: int | None = Field(
        None, ge=1, le=9, description="1 (quick) to 9 (small). Default: EXPORT_COMPRESSION_LEVEL, else 6."
    )

    @model_validator(mode="after")
    def _is_one_file(self) -> Self:
        if self.max_file_rows is not None or self.max_file_bytes is not None:
            raise ValueError("a ZIP package is one file: max_file_rows and max_file_bytes do not go with it")
        return self


class _Archive:
    """A ZIP file that is being written."""

    def __init__(self, archive: pyzipper.AESZipFile, level: int, at: datetime) -> None:
        self._archive = archive
        self._level = level
        moment = at.astimezone(UTC)
        self._at = moment.timetuple()[:6] if moment.year >= _FIRST_YEAR else (_FIRST_YEAR, 1, 1, 0, 0, 0)

    @contextmanager
    def file(self, name: str, *, compress: bool) -> Iterator[BinaryIO]:
        """A stream to write the file of that name to."""
        import pyzipper

        entry = pyzipper.zipfile_aes.AESZipInfo(name, date_time=self._at)
        # What is merely stored, its size unknown before, cannot be read as a stream: level 0 frames it as deflate does.
        entry.compress_type = pyzipper.ZIP_DEFLATED
        entry._compresslevel = 0
        entry.external_attr = 0o644 << 16
        with self._archive.open(entry, "w", force_zip64=True) as target:
            if compress:
                deflate_entry(target, self._level)
            yield target


@contextmanager
def create(target: BinaryIO, options: ZipOptions, password: bytes | None, at: datetime) -> Iterator[_Archive]:
    """A new archive in the target, which need not be seekable; its files carry the time `at`."""
    import pyzipper

    with pyzipper.AESZipFile(
        _Plain(target), "w", pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES if password else None
    ) as archive:
        archive.setpassword(password)
        yield _Archive(archive, options.compression_level or USUAL_LEVEL, at)


def extract(path: Path, name: str, target: Path, password: bytes | None) -> None:
    """Unpacks one file of an archive. Raises Broken where it is not there, or damaged, Rejected where it is encrypted
    with another password."""
    import shutil

    import pyzipper

    try:
        with pyzipper.AESZipFile(path) as archive:
            archive.setpassword(password)
            with _opened(archive, name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
    except Rejected:
        raise
    except Exception as error:  # of several libraries, down to zlib's
        raise Broken(f"{name} cannot be unpacked from {path.name} ({type(error).__name__})") from error


def _opened(archive: pyzipper.AESZipFile, name: str) -> IO[bytes]:
    try:
        return cast(IO[bytes], archive.open(name))
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise Rejected(f"{name} is encrypted, with another password than the one given") from None


class _Plain:
    """The target with nothing but what writing a stream needs: the archive's writer would seek in anything else."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target

    def write(self, data: Any) -> int:
        return self._target.write(data)

    def flush(self) -> None:
        pass


FORMAT = Format(
    name="zip",
    title="ZIP package",
    description="Files of several datasets, or of one in several formats, out of one snapshot: no call without its "
    "contact. With a manifest, and a README that says what each file and column is.",
    extension="zip",
    media_type="application/zip",
    options=ZipOptions,
    for_people=lambda options: False,
    archiver=Archiver(create=create, extract=extract),
)
