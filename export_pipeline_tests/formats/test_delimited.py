"""What can be chosen for CSV and TSV, read back by DuckDB and by Python's own reader."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from export_pipeline.flow.content import FileContent
from export_pipeline.formats import _duckdb
from export_pipeline.formats.csv import CsvOptions
from export_pipeline.model.dataset import FLOAT, INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline_tests.contracts.corpus import round_trip, rows_of
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import FORMATS

COLUMNS = (
    Column("text", TEXT, "", ""),
    Column("number", decimal(12, 2), "", ""),
    Column("float", FLOAT, "", ""),
    Column("whole", INTEGER, "", ""),
)
RAW = CsvOptions.model_validate({"profile": "raw"})
ROWS: list[tuple[Any, ...]] = [
    ('a "b", c; d\te|f', "1234.50", 0.25, -3),
    ("line\r\nbreak", "-0.05", 1e300, 2**63 - 1),
    (None, None, None, None),
    ("NULL", "1.00", -0.5, 0),
]


def lines(text: str) -> list[tuple[Any, ...]]:
    rows = pl.DataFrame(ROWS, schema=["text", "number", "float", "whole"], orient="row")
    return rows.with_columns(pl.col("number").cast(pl.Decimal(12, 2))).filter(pl.lit(bool(text))).rows()


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ";"},
        {"delimiter": "tab"},
        {"delimiter": "|", "quoting": "always", "null_text": "n/a"},
        {"delimiter": "^", "line_ending": "lf", "bom": "false"},
        {"quoting": "non_numeric"},
        {"quoting": "non_numeric", "null_text": "NULL"},
        {"null_text": r"\N"},
        {"decimal_comma": "true"},
        {"decimal_comma": "true", "delimiter": "tab", "profile": "raw"},
        {"decimal_comma": "true", "quoting": "always", "null_text": "-"},
    ],
    ids=str,
)
def test_file_when_written_with_options_then_reads_back_exactly(options: dict[str, str], tmp_path: Path) -> None:
    rows = lines("all")
    path = tmp_path / "file.csv"
    path.write_bytes(tables.write("csv", rows, COLUMNS, **options))
    form = FORMATS["csv"]
    assert form.reader is not None
    chosen = form.options.model_validate(options)
    found = pl.concat(form.reader.rows(FileContent(path), COLUMNS, chosen, None))
    assert_frame_equal(found, tables.frame(rows, COLUMNS).collect())


def test_file_when_a_decimal_comma_is_asked_for_then_numbers_have_one_and_fields_a_semicolon() -> None:
    text = tables.write("csv", lines("all")[:1], COLUMNS, decimal_comma="true").decode("utf-8-sig")
    assert text.splitlines()[0] == "text;number;float;whole"
    assert next(csv.reader(io.StringIO(text.splitlines()[1]), delimiter=";"))[1:] == ["1234,50", "0,25", "-3"]


def test_file_when_nothing_is_quoted_then_texts_stand_as_they_are() -> None:
    rows = [("plain text", None, None, 1), (None, None, None, 2)]
    data = tables.write("csv", rows, COLUMNS, quoting="never", profile="raw", null_text="NULL")
    assert data == b"text,number,float,whole\nplain text,NULL,NULL,1\nNULL,NULL,NULL,2\n"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a,b", {"quoting": "never"}),
        ('a"b', {"quoting": "never"}),
        ("a\nb", {"quoting": "never"}),
        ("a\rb", {"quoting": "never"}),
        ("", {"quoting": "never"}),
        ("", {"quoting": "always"}),
        ("NULL", {"quoting": "always", "null_text": "NULL"}),
        ("NULL", {"null_text": "NULL"}),
    ],
)
def test_text_when_there_is_no_way_to_write_it_then_refused_by_row_and_column(
    text: str, options: dict[str, str]
) -> None:
    rows = [("fine", None, None, number) for number in range(3000)] + [(text, None, None, 0)]
    with pytest.raises(Rejected, match=r"row 3,001: the text of text .* choose another quoting or null_text"):
        tables.write("csv", rows, COLUMNS, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decimal_comma": "true", "delimiter": ","}, "decimal_comma"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"delimiter": "1"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"null_text": "a,b"}, "null_text"),
        ({"null_text": "n/a", "delimiter": "/"}, "'n/a' holds the delimiter /.* another null_text or delimiter"),
        ({"null_text": "(null)", "delimiter": "(", "quoting": "always"}, "null_text='\\(null\\)' holds the delimiter"),
        ({"null_text": r"\N", "delimiter": "\\"}, "null_text"),
        ({"quoting": "some"}, "quoting"),
    ],
)
def test_options_when_they_contradict_each_other_then_refused(options: dict[str, str], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        CsvOptions.model_validate(options)


PUNCTUATION = [*"!#$%&()*,/:;<=>?@[\\]^`{|}~", "tab"]


@pytest.mark.parametrize(
    ("delimiter", "options"),
    [
        *((delimiter, {}) for delimiter in PUNCTUATION),
        (":", {"profile": "raw"}),
        (":", {"quoting": "non_numeric"}),
        (":", {"quoting": "always", "null_text": "NULL"}),
        (":", {"timezone": "Europe/Vienna"}),
        ("/", {"locale": "en-GB"}),
        (",", {"locale": "fr", "decimal_comma": "false"}),
    ],
    ids=str,
)
def test_values_when_any_delimiter_then_read_back_exactly(
    delimiter: str, options: dict[str, str], tmp_path: Path
) -> None:
    rows = [row for kind in ("timestamp", "date", "float", "text") for row in rows_of(kind) if row[0] != "NULL"]
    chosen = FORMATS["csv"].options.model_validate({"delimiter": delimiter, **options})
    round_trip(FORMATS["csv"], rows, tables.COLUMNS, chosen, tmp_path)


def test_timestamps_when_the_delimiter_is_in_them_then_in_quotes_or_refused() -> None:
    columns = (Column("id", INTEGER, "", ""), Column("at", TIMESTAMP, "", ""))
    rows = [(1, None), (2, datetime(2010, 11, 17, 14, 3, 22, tzinfo=UTC))]
    options = {"delimiter": ":", "profile": "raw", "null_text": "NULL"}
    assert tables.write("csv", rows, columns, **options) == b'id:at\n1:NULL\n2:"2010-11-17T14:03:22.000000Z"\n'
    with pytest.raises(Rejected, match=r"row 2: .* at .* with quoting=never.* and ':' between fields.* choose"):
        tables.write("csv", rows, columns, quoting="never", **options)


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("name", ["a,\tb", 'a"b', "a\nb", "a\rb"])
def test_name_when_nothing_is_quoted_and_it_would_break_the_header_then_refused(form: str, name: str) -> None:
    columns = (Column("fine", INTEGER, "", ""), Column(name, INTEGER, "", ""))
    with pytest.raises(Rejected, match=r"name .* with quoting=never .* rename the column, or choose another"):
        tables.write(form, [(1, 2)], columns, quoting="never", null_text="NULL")


def test_tsv_when_written_then_fields_are_between_tabs() -> None:
    data = tables.write("tsv", lines("all")[:1], COLUMNS, profile="raw")
    assert data == b'text\tnumber\tfloat\twhole\n"a ""b"", c; d\te|f"\t1234.50\t0.25\t-3\n'


@pytest.mark.parametrize("options", [{}, {"profile": "raw"}, {"quoting": "always", "null_text": "NULL"}], ids=str)
@pytest.mark.parametrize("kind", [TEXT, INTEGER])
def test_single_column_when_it_has_nulls_then_no_row_is_lost(
    kind: Any, options: dict[str, str], tmp_path: Path
) -> None:
    columns = (Column("only", kind, "", ""),)
    values: list[Any] = ["a", None, "b", None] if kind is TEXT else [1, None, 2, None]
    rows = [(value,) for value in values]
    path = tmp_path / "file.csv"
    path.write_bytes(tables.write("csv", rows, columns, **options))
    form = FORMATS["csv"]
    assert form.reader is not None and form.reader.held is not None
    chosen = form.options.model_validate(options)
    held = form.reader.held(tables.frame(rows, columns).collect(), columns, chosen)
    assert form.reader.count(FileContent(path), columns, chosen) == 4
    assert_frame_equal(pl.concat(form.reader.rows(FileContent(path), columns, chosen, None)), held)


@pytest.mark.parametrize("data", [b"whole\r\n1\n2\n", b"whole\r1\n2\n"], ids=["crlf", "cr"])
def test_file_when_its_header_ends_otherwise_than_its_rows_then_broken(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(data)
    reader = FORMATS["csv"].reader
    assert reader is not None
    with pytest.raises(Broken, match="header does not end as its rows"):
        list(reader.rows(FileContent(tmp_path / "file.csv"), COLUMNS[3:], RAW, None))


def test_file_when_its_header_is_missing_then_broken_without_its_values(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(b"17\n18\n")
    reader = FORMATS["csv"].reader
    assert reader is not None
    with pytest.raises(Broken, match=r"the file's header should be whole, and is not$"):
        reader.count(FileContent(tmp_path / "file.csv"), COLUMNS[3:], RAW)


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("before", [0, 20_000])
def test_last_row_when_longer_than_a_buffer_then_read_too(form: str, before: int, tmp_path: Path) -> None:
    columns = (Column("id", INTEGER, "", ""), Column("text", TEXT, "", ""))
    rows = [*((number, "short") for number in range(before)), (before, "x" * (9 << 20))]
    round_trip(FORMATS[form], rows, columns, FORMATS[form].options.model_validate({}), tmp_path)


def test_last_row_when_longer_than_can_be_read_then_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb, "_LIMITS", (_duckdb._LIMITS[0], _duckdb.Limits(6 << 20, 12 << 20, "1GB")))
    (tmp_path / "file.csv").write_bytes(b"text\nshort\n" + b"x" * (13 << 20) + b"\n")
    reader, content = FORMATS["csv"].reader, FileContent(tmp_path / "file.csv")
    assert reader is not None
    said = r"^a row has more than 6 MiB, .* choose --verify off or another format$"
    with pytest.raises(Broken, match=said):
        reader.count(content, COLUMNS[:1], RAW)
    with pytest.raises(Broken, match=said):
        list(reader.rows(content, COLUMNS[:1], RAW, None))


@pytest.mark.parametrize(
    ("memory", "data", "said"),
    [
        ("1GB", b"whole\n1\nsecret\n", r"^the file cannot be read back \(ConversionException\): it is damaged, or a "),
        ("1GB", b"whole\n" + b"1\n" * 5_000_000 + b"secret\n", r"^the file cannot be read back \(OSError\): it is dam"),
        ("1MB", b"whole\n1\n", r"^the file could not .* by DuckDB \(OutOfMemoryException\); choose --verify off or"),
    ],
    ids=["damaged", "damaged further on", "memory"],
)
def test_file_when_it_cannot_be_read_then_damaged_only_where_it_is(
    memory: str, data: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_duckdb, "_LIMITS", (_duckdb.Limits(4 << 20, 8 << 20, memory),) * 2)
    (tmp_path / "file.csv").write_bytes(data)
    reader = FORMATS["csv"].reader
    assert reader is not None
    with pytest.raises(Broken, match=said) as caught:
        list(reader.rows(FileContent(tmp_path / "file.csv"), COLUMNS[3:], RAW, None))
    assert "secret" not in str(caught.value)


def test_reading_when_interrupted_in_the_midst_then_ends(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_bytes(b"whole\n" + b"1234567890\n" * 2_000_000)
    reader = FORMATS["csv"].reader
    assert reader is not None
    rows = reader.rows(FileContent(tmp_path / "file.csv"), COLUMNS[3:], RAW, None)
    assert next(rows).height
    with pytest.raises(KeyboardInterrupt):
        rows.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
