"""XLSX: what cells, sheets and the window over them are, what Excel cannot hold, and any rows read back equal."""

import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import openpyxl
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from export_pipeline.formats import _template
from export_pipeline.formats._cells import CUT_MARK, MAX_TEXT_UNITS, cut, utf16_units
from export_pipeline.formats.xlsx import XlsxOptions
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, TEXT, TIMESTAMP, Column, Type, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS, FORMATS, OneWay
from export_pipeline_tests.formats.test_csv import FORMULAS, HARMLESS


def cells(kind: Type, *values: object, **options: str) -> list[object]:
    """One column's values, read back by openpyxl."""
    data = tables.write("xlsx", [(value,) for value in values], [Column("c", kind, "c", "A column.")], **options)
    return [row[0] for row in tables.read_xlsx(data)[0][1:]]


def calamine(data: bytes) -> list[list[object]]:
    """Rows by a reader that undoes Excel's escapes of control characters, as openpyxl does not."""
    return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()


def test_texts_when_like_formulas_links_numbers_then_texts() -> None:
    texts = [*FORMULAS, *HARMLESS, "http://example.com", "mailto:a@example.com", "2010-11-17", "true", "1e5", "{=1}"]
    data = tables.write("xlsx", [(text, "x") for text in texts], [Column(n, TEXT, n, "Text.") for n in ("a", "b")])

    assert calamine(data)[1:] == [[text, "x"] for text in texts]
    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet
    assert b"hyperlink" not in sheet
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert {cell.data_type for row in book.active.iter_rows(max_col=1) for cell in row if cell.value} == {"s"}


def test_texts_when_like_excels_escapes_or_with_spaces_then_unchanged() -> None:
    texts = ["_x0041_x0042_", "_x000D_", "a\r\nb", " both ends\t", "\x00\x1f", "<&amp;>", "_x00G1_", "plain"]
    texts += ["ref_x0041\r\nnext", "_x005F\x01", "_x0041_x0042\x1f"]
    column = Column("c", TEXT, "c", "A text.")

    for batch in (texts, *([text] for text in texts)):
        assert [row[0] for row in calamine(tables.write("xlsx", [(text,) for text in batch], [column]))[1:]] == batch


def extra_lengths(data: bytes) -> set[int]:
    """How long the extra fields of the entries' own headers are (APPNOTE.TXT, 4.3.7)."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        starts = [entry.header_offset for entry in book.infolist()]
    return {int.from_bytes(data[start + 28 : start + 30], "little") for start in starts}


def test_sheets_when_they_cannot_be_longer_than_usual_entries_then_they_are_such() -> None:
    assert extra_lengths(tables.write("xlsx", [("a",)] * 3, [Column("c", TEXT, "c", "A text.")])) == {0}


@pytest.mark.parametrize("text", ["\x01" * 30_000, "_x0041" * 5_000, "&" * 30_000])
def test_sheets_when_spelled_out_longer_than_usual_entries_then_they_have_room(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100_000)
    column = Column("c", TEXT, "c", "A text.")
    data = tables.write("xlsx", [(text,)], [column])
    assert extra_lengths(data) == {0, 20}
    assert [row[0] for row in calamine(data)[1:]] == [text]


def test_texts_when_not_a_character_then_spelled_as_excel_does() -> None:
    assert cells(TEXT, "a\ufffe\uffff") == ["a_xFFFE__xFFFF_"]


def test_rows_when_empty_then_none_is_lost() -> None:
    columns = [Column(name, INTEGER, name, name) for name in ("a", "b")]
    rows = [(None, None), (None, 1), (2, None), (None, None)]

    assert tables.read_xlsx(tables.write("xlsx", rows, columns))[0][1:] == rows


def test_rows_when_texts_and_numbers_mix_in_a_column_then_each_is_itself() -> None:
    assert cells(FLOAT, *([0.5] * 10_001), float("nan"), None, 1e300) == [*([0.5] * 10_001), "NaN", None, 1e300]


def test_window_when_opened_then_header_bold_and_frozen_with_filter_and_widths() -> None:
    data = tables.write("xlsx", [(None,) * len(COLUMNS)] * 3)

    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    assert sheet.title == "All types"
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:I4"
    assert all(cell.font.bold for cell in sheet[1])
    assert sheet.column_dimensions["B"].width > 36  # a UUID
    assert sheet.column_dimensions["H"].width > 19  # a timestamp


def test_numbers_when_written_then_shown_with_the_declared_decimals() -> None:
    row = (None, None, 7, Decimal("1.5"), 0.25, None, date(2010, 11, 17), datetime(2010, 11, 17, tzinfo=UTC), None)

    sheet = openpyxl.load_workbook(io.BytesIO(tables.write("xlsx", [row]))).active

    shown = [cell.number_format for cell in sheet[2]][2:8]
    assert shown == ["0", "0.0000", "General", "General", "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"]


def test_integers_when_over_15_digits_then_exact_texts() -> None:
    values = [10**15 - 1, -(10**15) + 1, 10**15, 2**63 - 1, -(2**63), None]

    assert cells(INTEGER, *values) == [
        10**15 - 1,
        -(10**15) + 1,
        "1000000000000000",
        "9223372036854775807",
        "-9223372036854775808",
        None,
    ]


def test_decimals_when_over_15_significant_digits_then_exact_texts() -> None:
    values = ["0.1", "99999999999.9999", "123456789012345.6", "100000000000000000", "-0.0001"]

    assert cells(decimal(38, 4), *map(Decimal, values)) == [
        0.1,
        99999999999.9999,
        "123456789012345.6000",
        100000000000000000,
        -0.0001,
    ]


def test_floats_when_not_finite_then_texts() -> None:
    values = [float("nan"), float("inf"), None, float("-inf"), 0.1]

    assert cells(FLOAT, *values) == ["NaN", "Infinity", None, "-Infinity", 0.1]


def test_dates_when_before_excels_calendar_then_iso_texts() -> None:
    assert cells(DATE, date(1900, 2, 28), date(1900, 3, 1), date(1, 1, 1), date(9999, 12, 31), None) == [
        "1900-02-28",
        datetime(1900, 3, 1),
        "0001-01-01",
        datetime(9999, 12, 31),
        None,
    ]


def test_timestamps_when_before_excels_calendar_then_iso_texts_in_utc() -> None:
    early = datetime(1900, 2, 28, 23, 30, 0, 1, UTC)
    first = datetime(1900, 3, 1, tzinfo=UTC)

    assert cells(TIMESTAMP, early, first, None) == [
        "1900-02-28T23:30:00.000001Z",
        first.replace(tzinfo=None),
        None,
    ]


def test_timestamps_when_zone_then_its_wall_clock_in_summer_and_winter() -> None:
    winter, summer = datetime(2010, 1, 15, 12, 0, tzinfo=UTC), datetime(2010, 7, 15, 12, 0, tzinfo=UTC)

    assert cells(TIMESTAMP, winter, summer, timezone="Europe/Berlin") == [
        datetime(2010, 1, 15, 13, 0),
        datetime(2010, 7, 15, 14, 0),
    ]


def test_timestamps_when_the_zone_leaves_the_calendar_then_iso_texts_in_utc() -> None:
    last = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)

    assert cells(TIMESTAMP, last, datetime(1, 1, 1, tzinfo=UTC), timezone="Asia/Tokyo") == [
        "9999-12-31T23:30:00.000000Z",
        "0001-01-01T00:00:00.000000Z",
    ]


def test_timestamps_when_whole_seconds_then_no_reader_shows_one_less() -> None:
    moments = [datetime(2010, 11, 17, tzinfo=UTC) + timedelta(seconds=n) for n in range(0, 86_400, 97)]

    assert cells(TIMESTAMP, *moments) == [moment.replace(tzinfo=None) for moment in moments]


def test_text_when_over_long_then_refused_with_row_and_column() -> None:
    with pytest.raises(Rejected, match=r"row 1,003: c has 32,768 characters and an Excel cell holds 32,767"):
        cells(TEXT, *(["x"] * 1_002), "x" * 32_768)


def test_text_when_emoji_then_each_counts_two() -> None:
    assert cells(TEXT, "😀" * 16_383 + "x") == ["😀" * 16_383 + "x"]
    with pytest.raises(Rejected, match="32,768 characters"):
        cells(TEXT, "😀" * 16_384)


def test_text_when_over_long_and_truncated_then_cut_and_marked() -> None:
    (found,) = cells(TEXT, "😀" * 20_000, overlong="truncate")

    assert isinstance(found, str)
    assert found.endswith("😀" + CUT_MARK)
    assert MAX_TEXT_UNITS - 1 <= utf16_units(found) <= MAX_TEXT_UNITS


@settings(derandomize=True, max_examples=50, deadline=None, database=None)
@given(text=st.text("aé東😀"), units=st.integers(3, 12))
def test_cut_when_any_text_then_fits_and_is_whole(text: str, units: int) -> None:
    result = cut(text, units, "…")

    assert utf16_units(result) <= units
    assert result == text or (result.endswith("…") and text.startswith(result[:-1]))


def test_sheets_when_full_then_a_further_one_with_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_template, "SHEET_ROWS", 4)
    column = Column("n", INTEGER, "n", "A number.")

    data = tables.write("xlsx", [(n,) for n in range(9)], [column], workbook="rows")

    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames == ["All types", "All types 2", "All types 3"]
    assert tables.read_xlsx(data) == [
        [("n",), (0,), (1,), (2,), (3,)],
        [("n",), (4,), (5,), (6,), (7,)],
        [("n",), (8,)],
    ]
    assert [sheet.auto_filter.ref for sheet in book] == ["A1:A5", "A1:A5", "A1:A2"]
    assert [sheet.freeze_panes for sheet in book] == ["A2"] * 3


def test_sheets_when_exactly_full_then_no_further_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_template, "SHEET_ROWS", 4)

    data = tables.write("xlsx", [(n,) for n in range(4)], [Column("n", INTEGER, "n", "A number.")], workbook="rows")

    assert len(tables.read_xlsx(data)) == 1


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Calls [2010]: a/b\\c*?", "Calls  2010  a b c"),
        ("", "Sheet"),
        ("History", "Sheet"),
        ("'quoted'", "quoted"),
        ("x" * 40, "x" * 31),
        ("😀" * 20, "😀" * 15),
    ],
)
def test_sheet_name_when_excel_would_refuse_the_title_then_changed(title: str, expected: str) -> None:
    column, target = Column("n", INTEGER, "n", "A number."), OneWay()

    FORMATS["xlsx"].write(tables.frame([], [column]), target, tables.context([column], title), XlsxOptions())  # type: ignore[arg-type]

    assert openpyxl.load_workbook(target.data).sheetnames[0] == expected


def test_timezone_when_unknown_then_refused_with_an_example() -> None:
    with pytest.raises(ValidationError, match="Europe/Lisbon"):
        XlsxOptions.model_validate({"timezone": "Mars/Olympus"})


ANY_COLUMNS = [
    Column(name, kind, name, name)
    for name, kind in {
        "first": TEXT,
        "text": TEXT,
        "integer": INTEGER,
        "decimal": decimal(38, 4),
        "float": FLOAT,
        "timestamp": TIMESTAMP,
    }.items()
]
ANY_ROW = st.tuples(
    st.just("x"),
    st.none() | st.text(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**33), 10**33, places=4) | st.decimals(-1000, 1000, places=4),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.datetimes(datetime(1900, 3, 2), datetime(2078, 12, 31), timezones=st.just(UTC)),
)


@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(rows=st.lists(ANY_ROW, max_size=5))
def test_rows_when_any_then_read_back_equal(rows: list[tables.Row]) -> None:
    found = calamine(tables.write("xlsx", rows, ANY_COLUMNS))[1:]

    for row, back in zip(rows, found, strict=True):
        _, text, integer, number, real, moment = row
        assert back[1] == (text or "")
        assert back[2] == ("" if integer is None else integer if abs(integer) < 10**15 else str(integer))
        assert back[3] == "" if number is None else Decimal(str(back[3])) == number
        assert back[4] == ("" if real is None else real)
        if moment is None:
            assert back[5] == ""
        else:
            shown = back[5] if isinstance(back[5], datetime) else datetime.combine(back[5], datetime.min.time())  # type: ignore[arg-type]
            assert abs(shown - moment.replace(tzinfo=None)) <= timedelta(milliseconds=1)


def test_timestamps_when_any_microsecond_then_the_stored_number_is_exact() -> None:
    moment = datetime(2010, 11, 17, 14, 3, 22, 123457, UTC)
    data = tables.write("xlsx", [(moment,)], [Column("c", TIMESTAMP, "c", "A moment.")])

    sheet = zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml").decode()
    serial = float(sheet.split('<c r="A2"')[1].split("<v>")[1].split("</v>")[0])
    microseconds = round(serial * 86_400_000_000)
    assert datetime(1899, 12, 30, tzinfo=UTC) + timedelta(microseconds=microseconds) == moment
