"""XLSX as a workbook: summary, charts and highlights beside the rows, several datasets, and the same in each file."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.workbook import Workbook

from export_pipeline.flow.content import FileContent
from export_pipeline.formats import _template
from export_pipeline.formats._cells import CUT_MARK, MAX_TEXT_UNITS
from export_pipeline.formats._chart_sheet import MOST_GROUPS, OTHERS
from export_pipeline.formats._xlsx_reader import READER
from export_pipeline.formats.xlsx import XlsxOptions, write, write_workbook
from export_pipeline.model.dataset import FLOAT, INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import (
    Aggregate,
    Bucket,
    Chart,
    ChartKind,
    Highlight,
    Measure,
    Report,
    Tone,
)
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import SNAPSHOT_AT, OneWay

COLUMNS = (
    Column("status", TEXT, "status", "How it ended."),
    Column("at", TIMESTAMP, "at", "When it began."),
    Column("seconds", INTEGER, "seconds", "How long it took.", number_format="#,##0"),
    Column("cost", decimal(12, 4), "cost", "What it cost.", number_format='"$"#,##0.00'),
)
CALLS = Measure("Calls", Aggregate.COUNT)
REPORT = Report(
    figures=(
        CALLS,
        Measure("Success", Aggregate.SHARE, only=("status", ("done",)), decimals=1),
        Measure("Cost", Aggregate.SUM, "cost", unit="USD", decimals=2),
        Measure("Mean length of lost calls", Aggregate.MEAN, "seconds", only=("status", ("lost",)), unit="s"),
    ),
    charts=(
        Chart("Outcomes", ChartKind.PIE, "status", CALLS),
        Chart("Calls per day", ChartKind.LINE, "at", CALLS, Bucket.DAY),
        Chart("Cost by outcome", ChartKind.BAR, "status", Measure("Cost", Aggregate.SUM, "cost", decimals=2)),
    ),
    highlights=(Highlight("status", ("done", 'said "no"'), Tone.GOOD), Highlight("status", ("busy",), Tone.BAD)),
    bars=("seconds",),
)
AT = datetime(2010, 11, 17, 23, 30, tzinfo=UTC)
ROWS: list[tables.Row] = [
    ("done", AT, 1200, Decimal("1.5")),
    ("done", AT, 30, Decimal("2.25")),
    ("busy", AT + timedelta(days=2), None, None),
]
FILTERS = {"campaign_id": "=1+1"}


def context(title: str = "All calls", report: Report = REPORT) -> FileContext:
    return FileContext("0192-id", "all_calls", title, COLUMNS, SNAPSHOT_AT, FILTERS, report)


def data(rows: list[tables.Row] = ROWS, report: Report = REPORT, **options: str) -> bytes:
    target = OneWay()
    written = write(
        tables.frame(rows, COLUMNS),
        target,  # type: ignore[arg-type]
        context(report=report),
        XlsxOptions.model_validate(options),
    )
    assert written == len(rows)
    return target.data.getvalue()


def book(*arguments: Any, **options: str) -> Workbook:
    return openpyxl.load_workbook(io.BytesIO(data(*arguments, **options)))


def cells(sheet: Any) -> dict[str, Any]:
    """The summary's second column by its first."""
    return {row[0].value: row[1] for row in sheet.iter_rows(max_col=2) if row[0].value}


def test_workbook_when_opened_then_the_rows_are_in_front() -> None:
    found = book()

    assert found.sheetnames == ["All calls", "Summary", "Charts"]
    assert found.active.title == "All calls"


def test_workbook_when_rows_only_then_nothing_else() -> None:
    found = book(workbook="rows")

    assert found.sheetnames == ["All calls"]
    assert not found.active.conditional_formatting


def test_data_sheet_when_printed_then_as_wide_as_a_page_with_its_header_on_each() -> None:
    sheet = book().active

    assert sheet.page_setup.orientation == "landscape"
    assert sheet.sheet_properties.pageSetUpPr.fitToPage
    assert (sheet.page_setup.fitToWidth or 1, sheet.page_setup.fitToHeight) == (1, 0)
    assert sheet.print_title_rows == "$1:$1"


def test_summary_when_read_then_says_what_when_filters_and_totals() -> None:
    found = cells(book(timezone="Europe/Berlin")["Summary"])

    assert found["Dataset"].value == "all_calls"
    assert found["As of (Europe/Berlin)"].value == datetime(2010, 11, 17, 15, 3, 22)
    assert (found["campaign_id"].value, found["campaign_id"].data_type) == ("=1+1", "s")
    assert found["Rows"].value == 3
    assert found["Success"].value == pytest.approx(2 / 3)
    assert found["Success"].number_format == "0.0%"
    assert (found["Cost"].value, found["Cost"].number_format) == (3.75, '#,##0.00" USD"')
    assert found["Mean length of lost calls"].value == "–"


def test_summary_when_a_filter_is_longer_than_a_cell_then_cut_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILTERS, "ids", "7," * 20_000)

    said = cells(book()["Summary"])["ids"].value

    assert len(said) == MAX_TEXT_UNITS
    assert said.endswith(f",7{CUT_MARK}")


def test_workbook_when_numbers_are_not_finite_then_no_values_in_summary_and_charts() -> None:
    columns = (Column("status", TEXT, "status", "How it ended."), Column("rate", FLOAT, "rate", "A rate."))
    mean = Measure("Mean", Aggregate.MEAN, "rate", decimals=2)
    report = Report((mean,), (Chart("Means", ChartKind.BAR, "status", mean),))
    rows: list[tables.Row] = [("odd", float("nan")), ("endless", float("inf")), ("done", 0.25)]
    target = OneWay()
    made = FileContext("0192-id", "rates", "Rates", columns, SNAPSHOT_AT, {}, report)

    assert write(tables.frame(rows, columns), target, made, XlsxOptions()) == 3  # type: ignore[arg-type]

    found = openpyxl.load_workbook(target.data)
    assert cells(found["Summary"])["Mean"].value == "–"
    assert [row[12:14] for row in found["Charts"].iter_rows(min_row=3, values_only=True) if row[12]] == [("done", 0.25)]


def test_charts_when_declared_then_native_with_their_numbers_in_cells() -> None:
    sheet = book(timezone="Europe/Berlin")["Charts"]

    assert [type(chart).__name__ for chart in sheet._charts] == ["PieChart", "LineChart", "BarChart"]
    assert [row[12:14] for row in sheet.iter_rows(min_row=2, max_row=4, values_only=True)] == [
        ("status", "Calls"),
        ("done", 2),
        ("busy", 1),
    ]
    assert [row[15:17] for row in sheet.iter_rows(min_row=3, max_row=5, values_only=True)] == [
        (datetime(2010, 11, 18), 2),
        (datetime(2010, 11, 19), 0),
        (datetime(2010, 11, 20), 1),
    ]
    pie = sheet._charts[0].series[0]
    assert pie.val.numRef.f == "Charts!$N$3:$N$4"
    assert pie.cat.strRef.f == "Charts!$M$3:$M$4"
    # Nothing was paid for a busy line: no bar.
    assert [row[18:20] for row in sheet.iter_rows(min_row=3, max_row=4, values_only=True)] == [
        ("done", 3.75),
        (None, None),
    ]


def test_charts_when_days_are_too_many_then_weeks_and_their_title_says_so() -> None:
    sheet = book([("done", AT + timedelta(days=day), 1, None) for day in range(210)])["Charts"]

    assert [sheet["P1"].value, sheet["P2"].value] == ["Calls per day (here by week)", "Week"]
    assert (sheet["P3"].value, sheet["Q4"].value) == (datetime(2010, 11, 15), 7)


def test_charts_when_a_group_has_a_long_name_then_cut_and_marked() -> None:
    sheet = book([("long " * 2_000, AT, 1200, None)])["Charts"]

    label = sheet["M3"].value
    assert len(label) <= 60
    assert label.startswith("long long") and label.endswith(CUT_MARK)


def test_charts_when_a_locale_is_chosen_then_its_dates_in_cells_and_on_axes() -> None:
    sheet = book(locale="de")["Charts"]

    assert sheet["P3"].number_format == r"dd\.mm\.yyyy"
    assert sheet._charts[1].x_axis.number_format.formatCode == r"dd\.mm\.yyyy"


def test_chart_when_it_has_intervals_then_error_bars_of_cells_that_follow_the_numbers() -> None:
    columns = (
        Column("metric", TEXT, "metric", "What was measured."),
        *(Column(name, FLOAT, name, "A rate.", number_format="0.00") for name in ("rate", "low", "high")),
    )
    rate = Measure("Rate", Aggregate.MEAN, "rate", decimals=2)
    bars = Chart("Rates", ChartKind.BAR, "metric", rate, interval=("low", "high"), panels=("metric",))
    report = Report(charts=(Chart("Mean rate", ChartKind.BAR, "metric", rate), bars))
    rows: list[tables.Row] = [("m", 0.5, 0.25, 0.625), ("m", 0.75, None, None), ("n", -0.5, -1.25, 0.25)]
    target = OneWay()
    made = FileContext("0192-id", "rates", "Rates", columns, SNAPSHOT_AT, {}, report)

    assert write(tables.frame(rows, columns), target, made, XlsxOptions()) == 3  # type: ignore[arg-type]

    sheet = openpyxl.load_workbook(target.data)["Charts"]
    values = openpyxl.load_workbook(target.data, data_only=True)["Charts"]
    _, first, second = sheet._charts
    # Each stands at the height of its chart, right of the numbers of grouped charts.
    assert [cell.value for cell in sheet[20][15:21]] == ["metric", "Rate", "from", "to", "below", "above"]
    assert [cell.value for cell in sheet[21][15:21]] == ["m", 0.5, 0.25, 0.625, "=Q21-R21", "=S21-Q21"]
    assert [cell.value for cell in values[21][19:21]] == [0.25, 0.125]
    assert [cell.value for cell in sheet[22][15:21]] == ["m", 0.75, None, None, None, None]
    assert [cell.value for cell in values[39][15:21]] == ["n", -0.5, -1.25, 0.25, 0.75, 0.75]
    assert [_error_bars(chart) for chart in (first, second)] == [
        ("cust", "both", "Charts!$T$21:$T$22", "Charts!$U$21:$U$22"),
        ("cust", "both", "Charts!$T$39", "Charts!$U$39"),
    ]
    # The axis holds the whole of every bar.
    assert (first.y_axis.scaling.min, first.y_axis.scaling.max) == (0, pytest.approx(0.65))
    assert (second.y_axis.scaling.min, second.y_axis.scaling.max) == (-1.5, 0.5)


def test_chart_when_a_panel_has_more_rows_than_it_draws_then_says_of_how_many() -> None:
    seconds = Measure("Seconds", Aggregate.MEAN, "seconds")
    chart = Chart("Lengths", ChartKind.BAR, "status", seconds, interval=("seconds", "seconds"), panels=("cost",))
    rows = [("done", AT, 1, Decimal(n)) for n, count in enumerate((1, 16, 42, 2)) for _ in range(count)]

    sheet = book(rows, Report(charts=(chart,)))["Charts"]

    titles = ["Lengths: 0.0000", "Lengths: 1.0000 (first 15 of 16)", "Lengths: 2.0000 (first 15 of 42)"]
    assert [sheet.cell(line, 13).value for line in (1, 19, 37, 55)] == [*titles, "Lengths: 3.0000 (first of 2)"]


def _error_bars(chart: Any) -> tuple[str, str, str, str]:
    """Their type and directions, and the cells that say how far they go down and up."""
    [series] = chart.series
    found = series.errBars
    return found.errValType, found.errBarType, found.minus.numRef.f, found.plus.numRef.f


def test_charts_when_no_rows_then_no_sheet_of_them() -> None:
    assert book([]).sheetnames == ["All calls", "Summary"]


def test_charts_when_nothing_to_draw_then_no_sheet_of_them() -> None:
    report = Report(charts=(Chart("Days", ChartKind.LINE, "at", CALLS, Bucket.DAY),))

    assert book([("done", None, 1, None)], report).sheetnames == ["All calls", "Summary"]


def test_pie_when_many_groups_then_the_small_ones_together() -> None:
    rows = [(f"status {n:02}", AT, 1, None) for n in range(20) for _ in range(n + 1)]

    sheet = book(rows)["Charts"]

    found = [row[12:14] for row in sheet.iter_rows(min_row=3, values_only=True) if row[12] is not None]
    assert len(found) == MOST_GROUPS[ChartKind.PIE]
    assert found[0] == ("status 19", 20)
    assert found[-1] == (OTHERS, len(rows) - sum(range(14, 21)))


def test_bars_when_numbers_do_not_add_up_then_their_title_says_how_many_are_drawn() -> None:
    report = Report(charts=(Chart("Means", ChartKind.BAR, "status", Measure("Mean", Aggregate.MEAN, "seconds")),))

    sheet = book([(f"status {n:02}", AT, n + 1, None) for n in range(30)], report)["Charts"]

    assert sheet["M1"].value == "Means (first 19 of 30)"


def test_bars_when_a_mean_is_0_then_a_group_like_the_others() -> None:
    report = Report(charts=(Chart("Means", ChartKind.BAR, "status", Measure("Mean", Aggregate.MEAN, "seconds")),))

    sheet = book([("done", AT, 5, None), ("lost", AT, 0, None), ("busy", AT, None, None)], report)["Charts"]

    assert [sheet[place].value for place in ("M3", "M4", "M5")] == ["done", "lost", None]


def test_pie_when_a_number_is_negative_then_bars_that_are_not_over_their_names() -> None:
    report = Report(charts=(Chart("Balance", ChartKind.PIE, "status", Measure("Cost", Aggregate.SUM, "cost")),))

    [chart] = book([("gains", AT, 1, Decimal(5)), ("losses", AT, 1, Decimal(-7))], report)["Charts"]._charts

    assert type(chart).__name__ == "BarChart"
    assert (chart.x_axis.tickLblPos, chart.y_axis.scaling.min) == ("low", None)


def test_columns_when_a_format_is_declared_then_shown_by_it() -> None:
    assert [cell.number_format for cell in book().active[2]] == [
        "General",
        "yyyy-mm-dd hh:mm:ss",
        "#,##0",
        '"$"#,##0.00',
    ]


def test_highlights_when_declared_then_conditional_formats_over_all_rows() -> None:
    sheet = book().active

    rules = {str(area.sqref): list(area.rules) for area in sheet.conditional_formatting}
    assert sorted(rules) == ["A2:A4", "C2:C4"]
    assert [rule.formula for rule in rules["A2:A4"]] == [['"done"'], ['"said ""no"""'], ['"busy"']]
    assert [rule.type for rule in rules["C2:C4"]] == ["dataBar"]


def test_highlights_when_too_many_rows_then_none_but_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_template, "HIGHLIGHTED_ROWS", 2)

    found = book()

    assert not found.active.conditional_formatting
    assert len(found["Charts"]._charts) == 3


def test_workbook_when_several_datasets_then_a_sheet_each_and_one_summary() -> None:
    target = OneWay()
    parts = [
        (tables.frame(ROWS, COLUMNS), context("Summary")),
        (tables.frame(ROWS[:1], COLUMNS), context("SUMMARY")),
        (tables.frame([], COLUMNS), context("Others", Report())),
    ]

    assert write_workbook(parts, target, XlsxOptions()) == [3, 1, 0]  # type: ignore[arg-type]

    found = openpyxl.load_workbook(target.data)
    names = ["Summary", "SUMMARY 2", "Others", "Summary 3", "Summary charts", "SUMMARY charts 2"]
    assert found.sheetnames == names
    assert [found[name].max_row for name in names[:3]] == [4, 2, 1]
    assert [row[0].value for row in found["Summary 3"].iter_rows() if row[0].value == "Rows"] == ["Rows"] * 3
    assert found["SUMMARY charts 2"]._charts[0].series[0].val.numRef.f == "'SUMMARY charts 2'!$N$3"


@pytest.mark.parametrize("sheet_rows", [1, 2, 1_048_575])
def test_workbook_when_its_datasets_have_the_same_columns_then_each_is_read_back_alone(
    sheet_rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_template, "SHEET_ROWS", sheet_rows)
    rows = [[("a", AT, 1, None), ("b", AT, 2, None)], [], [("c", AT, 3, None), ("d", AT, 4, None), ("e", AT, 5, None)]]
    path, options = tmp_path / "calls.xlsx", XlsxOptions.model_validate({})
    with path.open("wb") as target:
        parts = [(tables.frame(part, COLUMNS), context(f"Calls {number}")) for number, part in enumerate(rows)]
        assert write_workbook(parts, target, options) == [2, 0, 3]
    assert READER.part is not None
    for place, expected in enumerate(rows):
        reader = READER.part(place)
        found = [
            row["status"]
            for batch in reader.rows(FileContent(path), COLUMNS, options, None)
            for row in batch.to_dicts()
        ]
        assert found == [f"s{status}" for status, *_ in expected]
        assert reader.count(FileContent(path), COLUMNS, options) == len(expected)


def test_workbook_when_it_does_not_tell_whose_its_sheets_are_then_broken(tmp_path: Path) -> None:
    path = tmp_path / "calls.xlsx"
    with zipfile.ZipFile(io.BytesIO(data())) as book, zipfile.ZipFile(path, "w") as changed:
        for name in book.namelist():
            told = book.read(name)
            changed.writestr(name, told.replace(_template.PARTS_PROPERTY.encode(), b"Something else"))

    assert READER.part is not None
    with pytest.raises(Broken, match="does not tell which dataset"):
        READER.part(0).count(FileContent(path), COLUMNS, XlsxOptions.model_validate({}))


def test_workbook_when_a_column_is_named_like_the_title_then_only_its_rows_are_read_back(tmp_path: Path) -> None:
    # The summary begins with the title alone, as a data sheet of such a column does.
    column, path, options = Column("All calls", TEXT, "status", "How it ended."), tmp_path / "calls.xlsx", XlsxOptions()
    made = FileContext("0192-id", "all_calls", "All calls", (column,), SNAPSHOT_AT, FILTERS, Report())
    with path.open("wb") as target:
        assert write(tables.frame([("done",), ("busy",)], [column]), target, made, options) == 2

    [batch] = READER.rows(FileContent(path), (column,), options, None)

    assert batch["All calls"].to_list() == ["sdone", "sbusy"]
    assert READER.count(FileContent(path), (column,), options) == 2


def test_workbook_when_written_twice_then_the_same_bytes() -> None:
    assert data() == data()
