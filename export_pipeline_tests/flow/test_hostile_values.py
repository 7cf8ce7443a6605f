"""Values that only a database can produce, through the whole export: delivered exactly, as other programs read them, or
refused by row and column with nothing left behind."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pypdfium2
import pytest
from openpyxl.utils.escape import unescape

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.request import file_request
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import DATE, FLOAT, INTEGER, JSON, TEXT, TIMESTAMP, Column, Dataset, Type, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline_tests.flow.conftest import ADMIN
from export_pipeline_tests.formats import tables

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
CONTROLS = "".join(map(chr, [*range(1, 0x20), *range(0x7F, 0xA0)]))
DEEP = "[" * 100 + "]" * 100

#: What PostgreSQL is asked for, what it is declared to be, and what must come out of the file.
EXACT: dict[str, tuple[Type, str, Any]] = {
    "digits": (decimal(38, 0), "repeat('9', 38)::numeric", Decimal(10**38 - 1)),
    "fraction": (decimal(38, 38), "('0.' || repeat('1', 38))::numeric", Decimal("0." + "1" * 38)),
    "zeros": (decimal(10, 2), "1.5000000::numeric", Decimal("1.50")),
    "least": (INTEGER, "(-9223372036854775808)::int8", -(2**63)),
    "greatest": (INTEGER, "9223372036854775807::int8", 2**63 - 1),
    "single": (FLOAT, "0.1::float4", 0.1),
    "smallest": (FLOAT, "5e-324::float8", 5e-324),
    "first_day": (DATE, "'0001-01-01'::date", date(1, 1, 1)),
    "before_excel": (DATE, "'1899-12-31'::date", date(1899, 12, 31)),
    "last_moment": (TIMESTAMP, "'9999-12-31 23:59:59.999999Z'::timestamptz", datetime.max.replace(tzinfo=UTC)),
    "fine": (TIMESTAMP, "'2010-01-01 00:00:00.0000006Z'::timestamptz", datetime(2010, 1, 1, 0, 0, 0, 1, UTC)),
    "interval": (TEXT, "'1 mon -3 days 04:05:06.789'::interval", "P1M-3DT4H5M6.789S"),
    "midnight": (TEXT, "'24:00'::time", "24:00:00"),
    "controls": (
        TEXT,
        "(SELECT string_agg(chr(n), '' ORDER BY n) FROM generate_series(1, 159) n WHERE n < 32 OR n > 126)",
        CONTROLS,
    ),
    "leftwards": (TEXT, r"U&'\202Eabc\202C \05E9\05DC\05D5\05DD'", "\u202eabc\u202c שלום"),
    "family": (TEXT, f"'{FAMILY}'", FAMILY),
    "no_text": (TEXT, "''", ""),
    "null": (TEXT, "NULL::text", None),
    "nul": (JSON, r"""'{"a":"x\u0000y"}'::json""", r'{"a":"x\u0000y"}'),
    "pair": (JSON, r"""'["\ud83d\ude00","\\ud800"]'::json""", r'["\ud83d\ude00","\\ud800"]'),
    "deep": (JSON, f"'{DEEP}'::json", DEEP),
}
LONG = 'ä"\n' * 330_000
HALF = r"""'{"a":"\ud800"}'::json"""


def dataset(values: dict[str, tuple[Type, str]], source: str = "generate_series(1, 1) AS n") -> Dataset:
    """Somebody's own dataset, of these expressions."""
    columns = (Column("n", INTEGER, "n", "n"), *(Column(name, kind, sql, name) for name, (kind, sql) in values.items()))
    return Dataset("hostile", "Hostile", "Values.", source, columns, (), "n", {Role.ADMIN: Scope.ALL})


def export(engine: Engine, declared: Dataset, form: str, columns: tuple[str, ...] = (), **options: str) -> bytes:
    """The file, verified as is usual for its format."""
    own = replace(engine, datasets={declared.name: declared})
    if form in ("csv", "tsv"):
        options["profile"] = "raw"
    request = ExportRequest(
        dataset=declared.name,
        requested_by=ADMIN,
        format=form,
        destination="local",
        columns=columns,
        options=options,
    )
    job = run_export(own, file_request(own, request))
    return b"".join(own.destination("local").read(job.files[0].key))


@pytest.fixture(autouse=True)
def _fields_of_any_length() -> Iterator[None]:
    """Python's own reader of CSV stops at 131,072 characters unless told otherwise."""
    before = csv.field_size_limit(2**31 - 1)
    yield
    csv.field_size_limit(before)


def assert_no_files(engine: Engine) -> None:
    folder = engine.settings.export_directory
    assert folder is not None
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert engine.leftovers.list() == []


def first_row(form: str, data: bytes) -> list[Any]:
    """The only row, by a library of its own, without the id."""
    match form:
        case "csv" | "tsv":
            [_, row] = tables.read_csv(data, "," if form == "csv" else "\t")
        case "json":
            [row] = tables.read_json(data)
        case "jsonl":
            [row] = tables.read_jsonl(data)
        case "avro":
            [row] = [list(record.values()) for record in tables.read_avro(data)]
        case "parquet":
            [row] = [list(values) for values in tables.read_parquet(data)]
        case _:
            row = [unescape(cell) if isinstance(cell, str) else cell for cell in tables.read_xlsx(data)[0][1]]
    return row[1:]


def as_text(kind: Type, value: Any) -> str:
    """As CSV spells it."""
    if kind is TIMESTAMP:
        return str(value.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    return "" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)


def as_json(kind: Type, value: Any) -> Any:
    """As Python reads it from JSON, all digits kept."""
    if kind is JSON:
        return json.loads(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    return as_text(kind, value) if kind in (DATE, TIMESTAMP) else value


#: What an Excel cell holds otherwise: exact texts for what its numbers and calendar lack, and no empty text.
IN_EXCEL = {
    "digits": str(10**38 - 1),
    "fraction": "0." + "1" * 38,
    "zeros": 1.5,
    "least": str(-(2**63)),
    "greatest": str(2**63 - 1),
    "first_day": "0001-01-01",
    "before_excel": "1899-12-31",
    "last_moment": "9999-12-31T23:59:59.999999Z",  # as a double it would be the next day
    "fine": datetime(2010, 1, 1),  # openpyxl, like Excel, shows milliseconds
    "no_text": None,
}


@pytest.mark.parametrize("form", ["avro", "csv", "json", "jsonl", "parquet", "tsv", "xlsx"])
def test_values_of_postgresql_when_exported_then_other_programs_read_the_same(engine: Engine, form: str) -> None:
    declared = dataset({name: (kind, sql) for name, (kind, sql, _) in EXACT.items()})
    found = dict(zip(EXACT, first_row(form, export(engine, declared, form)), strict=True))
    expected = {name: value for name, (_, _, value) in EXACT.items()}
    if form in ("csv", "tsv"):
        expected = {name: as_text(kind, value) for name, (kind, _, value) in EXACT.items()}
    if form in ("json", "jsonl"):
        expected = {name: as_json(kind, value) for name, (kind, _, value) in EXACT.items()}
    if form == "xlsx":
        expected |= IN_EXCEL
    assert found == expected


REFUSED = {
    "a digit too many": (decimal(38, 0), "('1' || repeat('0', 38))::numeric", "has more digits than the 38"),
    "an enormous number": (decimal(38, 4), "1e200::numeric", "has more digits than the 38"),
    "no number": (decimal(38, 4), "'NaN'::numeric", "is not a number"),
    "an infinite number": (decimal(38, 4), "'-Infinity'::numeric", "is not a number"),
    "a decimal too many": (decimal(38, 4), "0.00001::numeric", "has more decimals than the 4"),
    "for ever": (TIMESTAMP, "'infinity'::timestamptz", "infinity or outside the years 1 to 9999"),
    "since ever": (TIMESTAMP, "'-infinity'::timestamptz", "infinity or outside the years 1 to 9999"),
    "year 10000": (TIMESTAMP, "'10000-01-01 00:00Z'::timestamptz", "infinity or outside the years 1 to 9999"),
    "before Christ": (DATE, "'0001-12-31 BC'::date", "infinity or outside the years 1 to 9999"),
    "no end": (DATE, "'infinity'::date", "infinity or outside the years 1 to 9999"),
}
LATE_ROW = 40_001


ALL = ("avro", "csv", "json", "jsonl", "parquet", "tsv", "xlsx")


@pytest.mark.parametrize("form", [*ALL, "pdf"])
@pytest.mark.parametrize("case", ["year 10000", "for ever", "before Christ", "a digit too many"])
def test_value_when_no_file_can_hold_it_then_refused_whatever_the_format(engine: Engine, form: str, case: str) -> None:
    kind, expression, reason = REFUSED[case]
    with pytest.raises(Rejected, match=f"row 1: value .*{reason}|row 1: value {reason}"):
        export(engine, dataset({"value": (kind, expression)}), form)
    assert_no_files(engine)


@pytest.mark.parametrize("form", ALL)
def test_columns_when_there_are_a_thousand_then_each_has_its_value(engine: Engine, form: str) -> None:
    declared = dataset({f"c{number}": (INTEGER, f"n * {number}::int8") for number in range(1, 1_000)})
    row = first_row(form, export(engine, declared, form))
    assert [int(value) for value in row] == list(range(1, 1_000))


@pytest.mark.parametrize("form", [*ALL, "pdf"])
def test_columns_when_two_would_have_one_name_then_refused(engine: Engine, form: str) -> None:
    with pytest.raises(Rejected, match="value"):
        export(
            engine,
            dataset({"value": (INTEGER, "n"), "other": (INTEGER, "n")}),
            form,
            columns=("value", "other as value"),
        )
    assert_no_files(engine)


#: In a report a text is cut after 48 characters, and JSON is text.
IN_A_REPORT = {
    "before_excel": "1899-12-31",
    "first_day": "0001-01-01",
    "last_moment": "9999-12-31 23:59:59",
    "fine": "2010-01-01 00:00:00",
    "deep": "[" * 47 + "…",
    "nul": r'{"a":"x\u0000y"}',
    "digits": "99,999,999,999,999,999,999,999,999,999,999,999,999",
    "greatest": "9,223,372,036,854,775,807",
}


def test_values_of_postgresql_when_in_a_report_then_printed_or_cut(engine: Engine) -> None:
    declared = dataset({name: EXACT[name][:2] for name in IN_A_REPORT} | {"half": (JSON, HALF)})
    # Words that are wider than their column may break at marks of no width.
    text = pdf_text(export(engine, declared, "pdf", report="detailed_results")).replace("\u200b", "")
    printed = "".join(text.split())
    for expected in (*IN_A_REPORT.values(), r'{"a":"\ud800"}'):
        assert "".join(expected.split()) in printed


def test_columns_when_there_are_a_thousand_then_a_report_names_those_without_room(engine: Engine) -> None:
    declared = dataset({f"c{number}": (INTEGER, f"n * {number}::int8") for number in range(1, 1_000)})
    printed = pdf_text(export(engine, declared, "pdf", report="detailed_results"))
    assert "Not shown, for want of width:" in printed and "c999" in printed


def pdf_text(data: bytes) -> str:
    document = pypdfium2.PdfDocument(data)
    try:
        return "\n".join(page.get_textpage().get_text_bounded() for page in document)
    finally:
        document.close()


@pytest.mark.parametrize("case", REFUSED)
def test_value_when_no_file_can_hold_it_then_refused_by_row_and_column(engine: Engine, case: str) -> None:
    kind, expression, reason = REFUSED[case]
    late = {"other": (decimal(5, 1), "1.5"), "value": (kind, f"CASE WHEN n = {LATE_ROW} THEN {expression} END")}
    with pytest.raises(Rejected, match=rf"row 40,001: value {reason}|row 40,001: value .*{reason}"):
        export(engine, dataset(late, f"generate_series(1, {LATE_ROW + 10}) AS n"), "csv")
    assert_no_files(engine)


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("half", [r'{"a":"\ud800"}', r'["\ud800\ud800"]', r'["\uDC00x"]', r'["\\\ud83d"]'])
def test_json_when_it_holds_half_a_surrogate_pair_then_refused_by_row(engine: Engine, form: str, half: str) -> None:
    late = {"value": (JSON, f"CASE WHEN n = {LATE_ROW} THEN '{half}' ELSE '1' END::json")}
    with pytest.raises(Rejected, match="row 40,001: value holds half of a surrogate pair"):
        export(engine, dataset(late, f"generate_series(1, {LATE_ROW}) AS n"), form)
    assert_no_files(engine)


def test_json_when_made_structs_and_it_holds_half_a_surrogate_pair_then_refused_by_row(engine: Engine) -> None:
    with pytest.raises(Rejected, match="row 1: value holds half of a surrogate pair"):
        export(engine, dataset({"value": (JSON, HALF)}), "parquet", nested="struct")
    assert_no_files(engine)


@pytest.mark.parametrize("form", ["avro", "csv", "parquet", "tsv", "xlsx"])
def test_json_when_it_is_text_then_half_a_surrogate_pair_stays_as_it_is(engine: Engine, form: str) -> None:
    assert first_row(form, export(engine, dataset({"value": (JSON, HALF)}), form)) == [r'{"a":"\ud800"}']


@pytest.mark.parametrize("form", ALL)
def test_text_when_a_megabyte_long_then_whole_or_refused_by_row(engine: Engine, form: str) -> None:
    declared = dataset({"value": (TEXT, "repeat(U&'\\00E4\"\\000A', 330000)")})
    if form == "xlsx":
        with pytest.raises(Rejected, match="row 1: value has 990,000 characters"):
            export(engine, declared, form)
        assert_no_files(engine)
        return
    assert first_row(form, export(engine, declared, form)) == [LONG]


def test_moments_around_a_change_of_clocks_when_shown_in_a_zone_then_as_its_clocks_showed(engine: Engine) -> None:
    moments = {
        "before": (TIMESTAMP, "'2010-03-28 00:59:59Z'::timestamptz"),
        "after": (TIMESTAMP, "'2010-03-28 01:00:00Z'::timestamptz"),
        "never": (TIMESTAMP, "'2010-03-28 01:30:00'::timestamp AT TIME ZONE 'Europe/Lisbon'"),
        "once": (TIMESTAMP, "'2010-10-31 00:30:00Z'::timestamptz"),
        "again": (TIMESTAMP, "'2010-10-31 01:30:00Z'::timestamptz"),
    }
    assert first_row("xlsx", export(engine, dataset(moments), "xlsx", timezone="Europe/Lisbon")) == [
        datetime(2010, 3, 28, 0, 59, 59),
        datetime(2010, 3, 28, 2, 0),
        datetime(2010, 3, 28, 2, 30),
        datetime(2010, 10, 31, 1, 30),
        datetime(2010, 10, 31, 1, 30),
    ]
