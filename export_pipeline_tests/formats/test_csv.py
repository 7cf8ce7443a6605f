"""CSV: bytes exactly as declared, formulas defused and phones left alone, any rows read back equal."""

import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from export_pipeline.formats._formulas import defused, restored
from export_pipeline.formats.csv import FORMAT, CsvOptions
from export_pipeline.model.dataset import FLOAT, INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Broken
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS

TEXTS = [Column("a", TEXT, "a", "Text."), Column("b", TEXT, "b", "Text.")]

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.com","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "+cmd",
    "-",
    "+",
    "-.",
    "--1",
    "+-5",
    "-5-",
    "+15551234567 ext. 2",
    "+1 (555) 123-4567",
    "1.5".join("+ "),
    "-1.",
    "-1.2.3",
    "-1e5",
    "|calc",
    "%0A=1+1",
    "\ttext",
    "\rtext",
    "\ntext",
    "\x00=1+1",
    "\x00",
    " =1+1",
    "   -cmd",
    "\u00a0=1+1",
    "\u3000=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\u2060\u00ad@x",
    "\u202e=1+1",
    "'=1+1",
    "''=1+1",
    "' =1+1",
    "'+15551234567",
    " +15551234567",
    "＝1+1",
    "＋1+1",
    "－1",
    "＠SUM(A1)",
    "｜calc",
    "％0A",
    "=",
    "@",
    "-Tim",
    "-2+3+cmd|' /C calc'!D2",
]

HARMLESS = [
    "",
    "+15551234567",
    "+4915112345678",
    "-12.5",
    "+0.5",
    "-0",
    "00123",
    "'",
    "'quoted'",
    " ",
    "   text",
    "a=1",
    "1+1",
    "5-3",
    "50%",
    "name@example.com",
    "https://example.com/?a=1",
    '{"a": -1}',
    "Ávila",
    "東京電力",
    "😀",
    "\u200bhidden",
]


def text_rows(*rows: tuple[str | None, str | None], **options: str) -> bytes:
    return tables.write("csv", rows, TEXTS, **options)


@pytest.mark.parametrize("text", FORMULAS)
def test_text_when_a_formula_then_one_apostrophe_in_front(text: str) -> None:
    assert tables.read_csv(text_rows((text, "x")))[1:] == [["'" + text, "x"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x;=1+1", "x;'=1+1"),
        ("a\n=2+3\nb", "a\n'=2+3\nb"),
        ("=1+1\r\n=2+2", "'=1+1\r\n'=2+2"),
        ("\t=1+1", "'\t'=1+1"),
        ("a\t=1;@SUM(A1)", "a\t'=1;'@SUM(A1)"),
        ("a; =1", "a;' =1"),
        ("a;'=1;'b", "a;''=1;'b"),
        ('x;"=1+1', "x;'\"=1+1"),
        ("a;-2+3+cmd|' /C calc'!A0", "a;'-2+3+cmd|' /C calc'!A0"),
        ("- milk\n- eggs", "'- milk\n'- eggs"),
        # The next field may go on with it.
        ("a\n-5", "a\n'-5"),
        ("a;-", "a;'-"),
        # What stays.
        ("a; b", "a; b"),
        ("a;b\tc\nd 'e'", "a;b\tc\nd 'e'"),
        ("a;-5;+1.25;", "a;-5;+1.25;"),
        ("a;'b", "a;'b"),
        ("a,=1", "a,=1"),
    ],
)
def test_text_when_it_may_be_split_then_an_apostrophe_before_what_would_be_run(text: str, expected: str) -> None:
    assert tables.read_csv(text_rows((text, "x")))[1:] == [[expected, "x"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;=1", "a;=1"),
        ("a,=1", "a,'=1"),
        ("[1, -2, -3.5]", "[1, -2, -3.5]"),
        ('{"a": 1, "b": -2}', '{"a": 1, "b": -2}'),
    ],
)
def test_text_when_between_semicolons_then_defused_after_commas(text: str, expected: str) -> None:
    assert tables.read_csv(text_rows((text, "x"), delimiter=";"), ";")[1:] == [[expected, "x"]]


def test_column_names_when_they_may_be_split_then_an_apostrophe_before_what_would_be_run() -> None:
    column = Column("x;=1+1", TEXT, "a", "Text.")
    assert tables.read_csv(tables.write("csv", [("a",)], [column])) == [["x;'=1+1"], ["a"]]


@pytest.mark.parametrize("text", HARMLESS)
def test_text_when_harmless_then_the_same(text: str) -> None:
    assert tables.read_csv(text_rows((text, "x")))[1:] == [[text, "x"]]


def test_text_when_raw_then_every_text_is_the_same(tmp_path: Path) -> None:
    texts = [text for text in FORMULAS + HARMLESS if "\x00" not in text]

    data = text_rows(*((text, None) for text in texts), profile="raw")

    found = tables.read_csv_with_duckdb(data, tmp_path / "raw.csv", {"a": "VARCHAR", "b": "VARCHAR"})
    assert found == [(text, None) for text in texts]


def test_column_names_when_a_formula_then_one_apostrophe_in_front() -> None:
    column = Column("=1+1", TEXT, "a", "Text.")

    assert tables.read_csv(tables.write("csv", [("a",)], [column])) == [["'=1+1"], ["a"]]
    assert tables.read_csv(tables.write("csv", [("a",)], [column], profile="raw")) == [["=1+1"], ["a"]]


NEAR_FORMULAS = st.text("=+-@|%＝－'\",;]\x00\t\r\n \u00a0\u200b\ufeff0129.ae\u00e9", max_size=8)


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(texts=st.lists(NEAR_FORMULAS | st.text(max_size=5), min_size=1, max_size=10), separator=st.sampled_from(",;\t|"))
def test_defused_when_any_text_then_as_the_rule_says_and_reversible(texts: list[str], separator: str) -> None:
    texts = [text for text in texts if not re.search("[\x1c-\x1f]", text)]  # white space for Python only
    result = defused(pl.Series("text", texts, dtype=pl.String), separator)

    assert result.to_list() == ["'" * starts_formula(text) + defused_within(text, separator) for text in texts]
    assert restored(result, separator).to_list() == texts


def defused_within(text: str, separator: str) -> str:
    """The rule for what may be split again, in other words."""
    splits = set(",;\t\r\n") - {separator}

    def is_run(rest: str) -> bool:
        for place, character in enumerate(rest):
            if character in "+-":
                number = re.match(r"(?:[0-9]+(?:\.[0-9]*)?)?", rest[place + 1 :])
                following = rest[place + 1 + (number.end() if number else 0) :]
                return not following or following[0] not in splits | set("]}")
            if character in "=@|%＝＋－＠｜％":
                return True
            is_skipped = character in "'\"\x00" or character.isspace() or unicodedata.category(character) == "Cf"
            if character in splits or not is_skipped:
                return False
        return False

    marks = ("'" if character in splits and is_run(text[place + 1 :]) else "" for place, character in enumerate(text))
    return "".join(character + mark for character, mark in zip(text, marks, strict=True))


def starts_formula(text: str) -> bool:
    """The rule again, in other words."""
    if re.fullmatch(r"[+-][0-9]+(\.[0-9]+)?", text):
        return False
    for character in text:
        if character in "=+-@|%＝＋－＠｜％\t\r\n\x00":
            return True
        if not (character == "'" or character.isspace() or unicodedata.category(character) == "Cf"):
            return False
    return False


ANY_ROW = st.tuples(
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**33), 10**33, places=4),
    st.none() | st.floats(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
)
ANY_COLUMNS = [
    Column("text", TEXT, "text", "Text."),
    Column("integer", INTEGER, "integer", "Integer."),
    Column("decimal", decimal(38, 4), "decimal", "Decimal."),
    Column("float", FLOAT, "float", "Float."),
    Column("timestamp", TIMESTAMP, "timestamp", "Timestamp."),
]


@settings(derandomize=True, max_examples=40, deadline=None, database=None)
@given(rows=st.lists(ANY_ROW, max_size=5))
def test_rows_when_any_and_raw_then_read_back_equal(rows: list[tables.Row], tmp_path_factory: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"  # type: ignore[attr-defined]
    data = tables.write("csv", rows, ANY_COLUMNS, profile="raw")

    types = ["VARCHAR", "BIGINT", "DECIMAL(38, 4)", "DOUBLE", "VARCHAR"]
    columns = {column.name: kind for column, kind in zip(ANY_COLUMNS, types, strict=True)}
    found = tables.read_csv_with_duckdb(data, path, columns)

    expected = [
        (*row[:4], row[4] and f"{row[4].replace(tzinfo=None).isoformat(timespec='microseconds')}Z") for row in rows
    ]
    assert repr(found) == repr(expected)  # repr: NaN is not equal to itself, and -0.0 equals 0.0


def test_file_when_spreadsheet_then_bytes_as_declared() -> None:
    row = ("a,b", None, -1, Decimal("0.5"), 1e300, False, date(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 1, UTC), "")

    data = tables.write("csv", [row])

    assert data == (
        b"\xef\xbb\xbftext,uuid,integer,decimal,float,boolean,date,timestamp,json\r\n"
        b'"a,b",,-1,0.5000,1e+300,false,0001-01-01,1969-12-31T23:59:59.000001Z,""\r\n'
    )


def test_file_when_raw_then_no_bom_and_line_feeds() -> None:
    assert text_rows(("=1", None), ("", 'q"'), profile="raw") == b'a,b\n=1,\n"","q"""\n'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"delimiter": ";"}, b'a;b\nx,y;";"\n'),
        ({"delimiter": "tab"}, b"a\tb\nx,y\t;\n"),
        ({"delimiter": "|"}, b"a|b\nx,y|;\n"),
        ({"line_ending": "crlf"}, b'a,b\r\n"x,y",;\r\n'),
        ({"bom": "true"}, b'\xef\xbb\xbfa,b\n"x,y",;\n'),
    ],
)
def test_file_when_options_then_as_chosen(options: dict[str, str], expected: bytes) -> None:
    assert text_rows(("x,y", ";"), profile="raw", **options) == expected


def test_row_when_one_column_is_null_then_no_program_skips_it() -> None:
    data = tables.write("csv", [("x",), (None,), ("y",)], TEXTS[:1])

    assert data == b'\xef\xbb\xbfa\r\nx\r\n""\r\ny\r\n'
    assert tables.write("csv", [("x",), (None,), ("",)], TEXTS[:1], profile="raw") == b'a\nx\n\n""\n'


def test_numbers_and_dates_when_spreadsheet_then_never_touched() -> None:
    row = (None, None, -5, Decimal("-0.0001"), -1e-7, None, date(2010, 1, 2), None, None)

    found = tables.read_csv(tables.write("csv", [row], COLUMNS))[1]

    assert found == ["", "", "-5", "-0.0001", "-1e-7", "", "2010-01-02", "", ""]


@pytest.mark.parametrize(
    ("name", "value"), [("profile", "excel"), ("delimiter", "a"), ("delimiter", ";;"), ("line_ending", "cr")]
)
def test_options_when_not_allowed_then_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        CsvOptions.model_validate({name: value})


def test_write_when_polars_panics_then_broken_without_the_value() -> None:
    moment = pl.Series("c", [2**63 - 1]).cast(pl.Datetime("us", "UTC")).to_frame().lazy()
    context = tables.context([Column("c", TIMESTAMP, "c", "A moment.")])

    with pytest.raises(Broken, match="could not be written") as caught:
        FORMAT.write(moment, tables.OneWay(), context, CsvOptions())  # type: ignore[arg-type]

    assert str(2**63 - 1) not in str(caught.value)


def test_record_limit_when_raw_then_does_not_apply() -> None:
    assert FORMAT.for_people(CsvOptions())
    assert not FORMAT.for_people(CsvOptions(profile="raw"))
