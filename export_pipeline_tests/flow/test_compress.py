"""Compressed files, unpacked by programs that share no code with what packed them."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import pytest
import snappy
import zstandard
from pydantic import ValidationError

from export_pipeline.flow.compress import CODECS, compressed, unpacked, with_level
from export_pipeline.formats.csv import CsvOptions
from export_pipeline.formats.parquet import ParquetOptions
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import Compression, Options

TEXT = b"".join(b"row %d, caf\xc3\xa9, %d\n" % (number, number**3 % 7919) for number in range(150_000))


def unsnapped(data: bytes) -> bytes:
    target = io.BytesIO()
    snappy.stream_decompress(io.BytesIO(data), target)
    return target.getvalue()


UNPACKED_BY: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: gzip.decompress,
    Compression.ZSTD: lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(),
    Compression.LZ4: lz4.frame.decompress,
    Compression.SNAPPY: unsnapped,
}


def options_of(compression: Compression, level: int | None = None) -> Options:
    return with_level(CsvOptions(compression=compression, compression_level=level), None)  # type: ignore[call-arg]


def packed(text: bytes, options: Options, chunk: int = 70_000) -> bytes:
    target = io.BytesIO()
    with compressed(target, options) as stream:
        for start in range(0, len(text), chunk):
            stream.write(memoryview(text)[start : start + chunk])
    return target.getvalue()


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("text", [TEXT, b"x", b""], ids=["much", "little", "nothing"])
def test_file_when_compressed_then_other_programs_unpack_it(compression: Compression, text: bytes) -> None:
    data = packed(text, options_of(compression))
    assert UNPACKED_BY[compression](data) == text
    assert len(data) < len(text) or len(text) < 2


@pytest.mark.parametrize("compression", CODECS)
def test_file_when_made_again_then_the_same_bytes(compression: Compression) -> None:
    options = options_of(compression)
    assert packed(TEXT, options) == packed(TEXT, options)


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD, Compression.LZ4])
def test_level_when_higher_then_smaller(compression: Compression) -> None:
    assert len(packed(TEXT, options_of(compression, 9))) < len(packed(TEXT, options_of(compression, 1)))


@pytest.mark.parametrize("compression", CODECS)
def test_file_when_unpacked_then_as_it_was_and_broken_where_it_is_cut(compression: Compression, tmp_path: Path) -> None:
    source = tmp_path / "packed"
    data = packed(TEXT, options_of(compression))
    for text, whole in ((b"", packed(b"", options_of(compression))), (TEXT, data)):
        source.write_bytes(whole)
        assert b"".join(unpacked(source, compression)) == text
    for cut in (data[: len(data) - 1000], b""):
        source.write_bytes(cut)
        with pytest.raises(Broken, match=compression.value):
            list(unpacked(source, compression))


def test_stream_when_not_compressed_then_the_target_itself() -> None:
    target: BinaryIO = io.BytesIO()
    for options in (options_of(Compression.NONE), ParquetOptions()):  # type: ignore[call-arg]
        with compressed(target, options) as stream:
            assert stream is target


@pytest.mark.parametrize(
    ("asked", "configured", "level"),
    [
        (("gzip", None), None, 6),
        (("zstd", None), None, 3),
        (("lz4", None), None, 1),
        (("snappy", None), 9, None),
        (("none", None), 9, None),
        (("gzip", None), 9, 9),
        (("zstd", 19), 9, 19),
    ],
)
def test_level_when_not_asked_for_then_the_setting_or_the_codecs_own(
    asked: tuple[str, int | None], configured: int | None, level: int | None
) -> None:
    options = CsvOptions.model_validate({"compression": asked[0], "compression_level": asked[1]})
    found = with_level(options, configured)
    assert isinstance(found, CsvOptions)
    assert found.compression_level == level


@pytest.mark.parametrize(
    ("compression", "level"), [("gzip", 10), ("zstd", 20), ("zstd", 0), ("snappy", 1), ("none", 1)]
)
def test_level_when_the_compression_has_none_such_then_refused(compression: str, level: int) -> None:
    with pytest.raises(ValidationError, match=f"compression_level={level}"):
        CsvOptions.model_validate({"compression": compression, "compression_level": level})


def test_level_when_the_format_has_none_then_its_options_are_as_they_were() -> None:
    for configured in (None, 9):
        options = ParquetOptions()  # type: ignore[call-arg]
        assert with_level(options, configured) is options
