"""Values that break exporters, and how a test holds a format to them: written, read by another library, and proven."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from export_pipeline.flow.compress import compressed
from export_pipeline.flow.content import FileContent, UnpackedContent
from export_pipeline.flow.proof import Proof, compare
from export_pipeline.model.dataset import Column
from export_pipeline.model.format import Compression, Format, Options, TextOptions
from export_pipeline.model.verification import Content, Verify
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS, FORMATS, OneWay, Row

CELL_FORMATS = {name: form for name, form in FORMATS.items() if form.reader is not None}
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"

#: By the column that they stand in (see `tables.COLUMNS`).
CORPUS: dict[str, Sequence[Any]] = {
    "text": (
        "",
        " ",
        " both ends ",
        *(f"a{chr(code)}b" for code in range(1, 0x20)),
        *(chr(code) for code in range(0x7F, 0xA0)),
        "\x00",
        "a\x00b",
        "\r",
        "\r\n",
        "\n",
        "line\rline\r\nline\n",
        'quote " quote "" quote',
        '"',
        '""',
        "'",
        "''quoted''",
        "comma, semicolon; tab\tpipe|",
        "null",
        "NULL",
        "NaN",
        "inf",
        "true",
        "-0",
        "00042",
        "+15551234567",
        "=1+1",
        "@SUM(A1)",
        "-2+3",
        "'=already",
        "\ufeffmark",
        "_x0041_",
        "_x005F_",
        "]]>",
        "<a href='x'>&amp;</a>",
        "\u202eright to left\u202c",
        "שלום עולם",
        "مرحبا بالعالم",
        "東京",
        "e\u0301 is not \u00e9",
        FAMILY,
        "\U0010ffff",
        "\u2028\u2029\u0085",
        "\\N",
        "\\",
        "\\n",
        "1e5",
        "0x10",
        "2010-11-17",
    ),
    "integer": (0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 10**15, 10**15 - 1, 2**63 - 1, -(2**63)),
    "decimal": tuple(
        Decimal(text)
        for text in (
            "0.0000",
            "-0.0001",
            "9999999999999999999999999999999999.9999",
            "-9999999999999999999999999999999999.9999",
            "0.1000",
            "123456789012345.6789",
            "12345678901.2345",
        )
    ),
    "float": (
        *(
            0.0,
            -0.0,
            0.1,
            1 / 3,
            5e-324,
            1.7976931348623157e308,
            -2.2250738585072014e-308,
            1e16,
            1e15 + 0.5,
            123456.789,
        ),
        *(float("nan"), float("inf"), float("-inf")),
    ),
    "boolean": (True, False),
    "date": (
        date(1, 1, 1),
        date(1582, 10, 15),
        date(1899, 12, 31),
        date(1900, 2, 28),
        date(1900, 3, 1),
        date(9999, 12, 31),
    ),
    "timestamp": (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1899, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2010, 3, 28, 0, 59, 59, 999999, UTC),
        datetime(2010, 3, 28, 1, tzinfo=UTC),
        datetime(2010, 10, 31, 0, 30, tzinfo=UTC),
        datetime(2010, 10, 31, 1, 30, tzinfo=UTC),
        datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ),
    "json": (
        "{}",
        "[]",
        "null",
        '""',
        "0",
        "1.50",
        "1e400",
        "123456789012345678901234567890",
        '{"a": {"b": [1, 2.5, null, true, "x"]}}',
        '{"quote": "\\" \\\\ \\n \\u0000 \\u00e9 \\ud83d\\ude00"}',
        "[" * 100 + "]" * 100,
        '{"a":' * 100 + "1" + "}" * 100,
        '{"": 1, " ": 2, "a.b": 3, "a/b": 4, "A": 5, "a": 6}',
    ),
}


def rows_of(kind: str) -> list[Row]:
    """Each value of the corpus in a row of its own, beside an id and nulls, and a null."""
    place = [column.name for column in COLUMNS].index(kind)
    values = [*CORPUS[kind], None]
    return [tuple(value if index == place else None for index in range(len(COLUMNS))) for value in values]


def round_trip(form: Format, rows: Sequence[Row], columns: Sequence[Column], options: Options, folder: Path) -> None:
    """Writes the rows, perhaps compressed, and asserts that another library reads what the format holds of them, and
    that the proof of completeness agrees."""
    assert form.write is not None and form.reader is not None
    target = OneWay()
    source = tables.frame(rows, columns)
    with compressed(target, options) as plain:  # type: ignore[arg-type]
        assert form.write(source, plain, tables.context(columns), options) == len(rows)
    path = folder / f"file.{form.extension}"
    path.write_bytes(target.data.getvalue())
    content: Content = FileContent(path)
    if isinstance(options, TextOptions) and options.compression is not Compression.NONE:
        content = UnpackedContent(content, options.compression)
    batch, shape = source.collect(), tuple(columns)
    held = form.reader.held(batch, shape, options) if form.reader.held else batch
    found = list(form.reader.rows(content, shape, options, None))
    assert_frame_equal(pl.concat([held.clear(), *found]), held)
    assert form.reader.count(content, shape, options) == len(rows)
    expected, again = Proof(shape, Verify.FULL), Proof(shape, Verify.FULL)
    expected.add(held)
    for part in found:
        again.add(part)
    compare(expected.certificate(), again.certificate(), extent=Verify.FULL)
