"""Deflate: every level is read back by zlib, also as an entry of an archive, whose library knows nothing of ours."""

import io
import zipfile
import zlib
from typing import Any

import pytest
import pyzipper

from export_pipeline.deflate import GZIP_WINDOW, RAW_WINDOW, deflate_entry, deflater

LEVELS = range(1, 10)
#: Rows as a file has them, and bytes that cannot become fewer.
PIECES = [b"".join(b"%d,+49301%07d,completed\r\n" % (n, n * 7919) for n in range(20_000)), bytes(range(256)) * 400, b""]


def packed(level: int, window: int, pieces: list[bytes]) -> bytes:
    compressor = deflater(level, window)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


@pytest.mark.parametrize("window", [GZIP_WINDOW, RAW_WINDOW])
@pytest.mark.parametrize("pieces", [PIECES, [], [b"x"]], ids=["rows", "nothing", "a byte"])
@pytest.mark.parametrize("level", LEVELS)
def test_deflater_when_unpacked_by_zlib_then_what_went_in(level: int, pieces: list[bytes], window: int) -> None:
    assert zlib.decompress(packed(level, window, pieces), window) == b"".join(pieces)


def test_deflater_when_level_is_higher_then_smaller() -> None:
    sizes = [len(packed(level, RAW_WINDOW, PIECES)) for level in (1, 3, 6)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("password", [None, b"secret"])
@pytest.mark.parametrize("level", LEVELS)
def test_deflate_entry_when_written_then_compressed_so_and_whole(level: int, password: bytes | None) -> None:
    target = io.BytesIO()
    archive: Any
    with pyzipper.AESZipFile(
        target, "w", pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES if password else None
    ) as archive:
        archive.setpassword(password)
        with archive.open("rows.csv", "w", force_zip64=True) as entry:
            deflate_entry(entry, level)
            for piece in PIECES:
                entry.write(piece)
    with pyzipper.AESZipFile(target) as archive:
        archive.setpassword(password)
        assert archive.read("rows.csv") == b"".join(PIECES)
        # AES puts a salt of 16 bytes, 2 bytes to check the password by, and a code of 10 bytes around it.
        around = 28 if password else 0
        assert archive.getinfo("rows.csv").compress_size == len(packed(level, RAW_WINDOW, PIECES)) + around


@pytest.mark.parametrize("level", LEVELS)
def test_deflate_entry_when_the_archive_is_pythons_own_then_compressed_so_and_whole(level: int) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("rows.csv", "w") as entry:
        deflate_entry(entry, level)
        for piece in PIECES:
            entry.write(piece)
    with zipfile.ZipFile(target) as archive:
        assert archive.read("rows.csv") == b"".join(PIECES)
        assert archive.getinfo("rows.csv").compress_size == len(packed(level, RAW_WINDOW, PIECES))
