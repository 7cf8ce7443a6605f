"""JSON and JSON Lines: valid for every reader, all digits kept, values nested, any rows read back equal."""

import json
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from export_pipeline.flow.content import FileContent
from export_pipeline.formats.json import JsonOptions
from export_pipeline.model.dataset import INTEGER, JSON, TEXT, Column, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import FORMATS

_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ANY_ROW = st.tuples(
    st.none() | st.text(),
    st.none() | st.uuids().map(str),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.decimals(-(10**33), 10**33, places=4),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.booleans(),
    st.none() | st.dates(),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.builds(json.dumps, _JSON_VALUES, indent=st.sampled_from([None, 2])),
)


def expected(row: tables.Row) -> list[Any]:
    """The row as a reader of JSON sees it."""
    *plain, real, boolean, date, timestamp, nested = row
    return [
        *plain,
        None if real is None else float(real),
        boolean,
        date and date.isoformat(),
        timestamp and timestamp.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        None if nested is None else json.loads(nested),
    ]


def as_float(row: list[Any]) -> list[Any]:
    return [float(value) if index == 4 and value is not None else value for index, value in enumerate(row)]


@settings(derandomize=True, max_examples=40, deadline=None, database=None)
@given(rows=st.lists(ANY_ROW, max_size=5))
def test_rows_when_any_then_read_back_equal(rows: list[tables.Row]) -> None:
    wanted = [expected(row) for row in rows]
    assert [as_float(row) for row in tables.read_json(tables.write("json", rows))] == wanted
    assert [as_float(row) for row in tables.read_jsonl(tables.write("jsonl", rows))] == wanted
    assert [as_float(row) for row in tables.read_json(tables.write("json", rows, indent="3"))] == wanted


def test_rows_when_read_by_duckdb_then_equal(tmp_path: Path) -> None:
    columns = [Column("t", TEXT, "t", "T."), Column("i", INTEGER, "i", "I."), Column("j", JSON, "j", "J.")]
    rows = [('a "quoted"\u2028\x00\n', 2**63 - 1, '{"a": [1, {"b": null}]}'), (None, None, None)]
    for name in ("json", "jsonl"):
        path = tmp_path / f"file.{name}"
        options = {"envelope": "false"} if name == "json" else {}
        path.write_bytes(tables.write(name, rows, columns, **options))
        found = duckdb.sql(f"SELECT t, i, j.a[1]::INT, j.a[2]::VARCHAR FROM read_json('{path}')").fetchall()
        assert found == [(rows[0][0], 2**63 - 1, 1, '{"b":null}'), (None, None, None, None)]


@pytest.mark.parametrize("count", [0, 1, 2, 5_000])
def test_document_when_any_number_of_rows_then_valid(count: int) -> None:
    columns = [Column("i", INTEGER, "i", "I.")]
    rows = [(number,) for number in range(count)]
    document = json.loads(tables.write("json", rows, columns))
    assert [row["i"] for row in document["data"]] == list(range(count))
    assert document["metadata"]["export_id"] == "0192-id"
    assert document["metadata"]["snapshot_at"] == "2010-11-17T14:03:22.123456Z"
    assert json.loads(tables.write("json", rows, columns, envelope="false")) == document["data"]


def test_document_when_indented_then_a_line_for_each_field() -> None:
    columns = [Column("a", TEXT, "a", "A."), Column("b", decimal(9, 2), "b", "B.")]
    written = tables.write("json", [("x", Decimal("1.50")), (None, None)], columns, envelope="false", indent="2")
    assert written.decode() == '[\n  {\n    "a":"x",\n    "b":1.50\n  },\n  {\n    "a":null,\n    "b":null\n  }\n]\n'


def test_decimals_when_as_text_then_quoted() -> None:
    columns = [Column("d", decimal(38, 4), "d", "D.")]
    number = Decimal("1234567890123456789012345678901234.5678")
    assert tables.write("jsonl", [(number,)], columns) == b'{"d":1234567890123456789012345678901234.5678}\n'
    assert tables.write("jsonl", [(number,)], columns, decimals="text") == (
        b'{"d":"1234567890123456789012345678901234.5678"}\n'
    )


@pytest.mark.parametrize("name", ["json", "jsonl"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_float_when_json_does_not_know_it_then_refused(name: str, value: float) -> None:
    rows = [(*[None] * 4, number, *[None] * 4) for number in (0.5, None, value)]
    with pytest.raises(Rejected, match="row 3: float is NaN or infinity"):
        tables.write(name, rows)


@pytest.mark.parametrize("indent", ["-1", "9", "two"])
def test_options_when_the_indent_is_wrong_then_refused(indent: str) -> None:
    with pytest.raises(ValidationError, match="indent"):
        JsonOptions.model_validate({"indent": indent})


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_count_when_a_value_is_deeply_nested_then_every_row(name: str, tmp_path: Path) -> None:
    columns = (Column("i", INTEGER, "i", "I."), Column("j", JSON, "j", "J."))
    path, form = tmp_path / "file", FORMATS[name]
    path.write_bytes(tables.write(name, [(1, "[" * 200 + "]" * 200), (2, None)], columns))
    assert form.reader is not None
    assert form.reader.count(FileContent(path), columns, form.options()) == 2  # type: ignore[call-arg]
