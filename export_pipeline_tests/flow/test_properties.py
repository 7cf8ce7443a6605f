"""Properties of events as columns of their own: their types, what cannot be, and every format."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from psycopg import sql

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.properties import split_properties
from export_pipeline.flow.query import select
from export_pipeline.flow.request import authorize_plan, file_request
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.dataset import Column, Dataset
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.format import Format
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.verification import Verification
from export_pipeline.registry import load_parts
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST
from export_pipeline_tests.flow.test_export import contents

FORMATS = load_parts("export_pipeline.formats", "FORMAT", Format)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {"n": 5, "dec": 1.5, "wide": 10**20, "huge": 1e60, "b": True, "s": "a", "mix": 1, "at": "2010-01-02T10:00:00Z"},
    {"n": -7, "dec": 12.25, "wide": 1, "huge": 0.5, "b": False, "s": "b", "mix": "x", "at": "2010-01-03", "list": [1]},
    {"n": None, "dec": 3, "s": None, "mix": True, "utm": {"source": "mail", "a b": 1}, "list": {"a": 2}, "1st": 1},
    {"email": "jane@example.com", "$browser": "Firefox", "mix": [1], "id": 1, "n 2": 2},
)
ID = "00000000-0000-4000-8000-{:012}"


def events(engine: Engine, documents: tuple[dict[str, Any], ...] = PROPERTIES) -> Engine:
    """An engine whose events have these properties."""
    lines = sql.SQL(", ").join(
        sql.SQL("({}::uuid, 'e', 'u', timestamptz '2010-01-01Z' + {} * interval '1 h', {}::jsonb)").format(
            sql.Literal(ID.format(number)), sql.Literal(number), sql.Literal(json.dumps(document))
        )
        for number, document in enumerate(documents)
    )
    source = f"(VALUES {lines.as_string()}) AS event (id, event, distinct_id, timestamp, properties)"
    changed: Dataset = replace(engine.dataset("events"), source=source)
    return replace(engine, datasets={**engine.datasets, "events": changed})


def read(engine: Engine, properties: str, **asked: Any) -> tuple[pl.DataFrame, dict[str, Column]]:
    """The rows, and the columns as the manifest would tell them."""
    filters = {"properties": properties, **asked.pop("filters", {})}
    role = asked.pop("role", Role.ADMIN)
    email = f"{role}@example.com"
    request = ExportRequest("events", email, filters, format="parquet", **asked)
    principal = Principal(sample_id("user", email), email, role, role)
    plan, _ = authorize_plan(engine, principal, make_plan(engine, request))
    with open_source(engine, [plan], Attempt("read", 1)) as opened, opened.read(opened.plans[0]) as rows:
        frame = pl.concat([rows.schema.to_frame(), *rows.batches])
    return frame, {column.name: column for column in opened.plans[0].columns}


def test_properties_when_asked_for_then_a_column_each_instead_of_the_json(sample_engine: Engine) -> None:
    frame, _ = read(events(sample_engine), "s,utm.source,$browser,1st")
    assert frame.columns == ["id", "event", "distinct_id", "timestamp", "s", "utm_source", "_browser", "_1st"]
    assert frame["s"].to_list() == ["a", "b", None, None]
    assert frame["utm_source"].to_list() == [None, None, "mail", None]
    assert frame["_browser"].to_list() == [None, None, None, "Firefox"]


@pytest.mark.parametrize(
    ("name", "kind", "values", "said"),
    [
        ("n", "integer", [5, -7, None, None], "The property n."),
        ("dec", "decimal(4,2)", [Decimal("1.50"), Decimal("12.25"), Decimal(3), None], "The property dec."),
        ("wide", "decimal(21,0)", [Decimal(10**20), Decimal(1), None, None], "The property wide."),
        ("huge", "float", [1e60, 0.5, None, None], "The property huge."),
        ("b", "boolean", [True, False, None, None], "The property b."),
        ("s", "text", ["a", "b", None, None], "The property s."),
        ("at", "text", ["2010-01-02T10:00:00Z", "2010-01-03", None, None], "The property at."),
        ("list", "json", [None, "[1]", '{"a": 2}', None], "The property list."),
        (
            "mix",
            "text",
            ["1", "x", "true", "[1]"],
            "The property mix. Its values are of several types (number, boolean, string, array), and so text.",
        ),
        ("nothing", "text", [None] * 4, "The property nothing. No row has it."),
        ('utm."a b"', "integer", [None, None, 1, None], 'The property utm."a b".'),
    ],
)
def test_type_when_not_declared_then_that_of_the_values(
    sample_engine: Engine, name: str, kind: str, values: list[Any], said: str
) -> None:
    frame, columns = read(events(sample_engine), name)
    column = next(reversed(columns.values()))
    assert (str(column.type), frame[column.name].to_list(), column.description) == (kind, values, said)


def test_type_when_rows_are_narrowed_then_that_of_the_selected_ones(sample_engine: Engine) -> None:
    engine = events(sample_engine)
    # Not by the limit, so that the first rows look as they do among all.
    assert str(read(engine, "mix", filters={"limit": "1"})[1]["mix"].type) == "text"
    assert str(read(engine, "mix", filters={"ids": ID.format(1)})[1]["mix"].type) == "text"
    assert str(read(engine, "mix", conditions=("properties.b eq true",))[1]["mix"].type) == "integer"
    assert str(read(engine, "mix", filters={"ids": ID.format(3), "limit": "1"})[1]["mix"].type) == "json"


def test_type_when_declared_then_without_looking_at_the_rows(sample_engine: Engine) -> None:
    frame, columns = read(events(sample_engine), "n:decimal(12,2), at:timestamp, b:text,huge:float,list:json")
    assert [str(columns[name].type) for name in ("n", "at", "b")] == ["decimal(12,2)", "timestamp", "text"]
    assert frame["n"].to_list() == [Decimal("5.00"), Decimal("-7.00"), None, None]
    assert frame["at"].to_list()[:2] == [datetime(2010, 1, 2, 10, tzinfo=UTC), datetime(2010, 1, 3, tzinfo=UTC)]
    assert frame["b"].to_list() == ["true", "false", None, None]


@pytest.mark.parametrize("items", ["s:integer", "mix:boolean", "s:timestamp", "s:uuid"])
def test_type_when_values_are_not_of_the_declared_one_then_refused_without_the_value(
    sample_engine: Engine, items: str
) -> None:
    with pytest.raises(Rejected, match="not of the type that was declared for it in properties") as caught:
        read(events(sample_engine), items)
    assert "'a'" not in str(caught.value) and '"a"' not in str(caught.value)
    with pytest.raises(Rejected, match="not of the type that was declared"):
        read(events(sample_engine), items, conditions=(f"{items.partition(':')[0]} is_null",))


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ("mobile", "integer"),
        ("mobile:decimal(20,0)", "decimal(20,0)"),
        ("mobile:float", "float"),
        ("who.mobile:integer", "integer"),
        ("who.mobile", "text"),
        ("b", "boolean"),
    ],
)
@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMIN])
def test_property_when_the_column_is_redacted_then_it_is_whatever_its_type(
    sample_engine: Engine, item: str, kind: str, role: Role
) -> None:
    engine = events(sample_engine, ({"mobile": 15550100123, "who": {"mobile": "15550100123"}, "b": True},))
    frame, columns = read(engine, item, role=role, contact_info=role is not Role.ADMIN)
    column = next(reversed(columns.values()))
    assert str(column.type) == kind and "blanked out" in column.description
    assert frame[column.name].to_list() == [{"text": "[phone]", "boolean": True}.get(kind)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("date", ["2015550131", 2015550131, "20150131", "2015-01-31T10:00:00Z", "now"]),
        ("timestamp", ["2015550131", 2015550131, "2015-01-31 10", "10:00", "2015-01-31 10:00 UTC"]),
        ("integer", ["+5550123", "030123456", " 5", ""]),
        ("decimal(12,2)", ["+5550123", "030123456.0", "NaN"]),
        ("float", ["+5550123", "030123456", "Infinity"]),
        ("uuid", ["4111-1111-1111-1111-5500-0055-5555-5559", "6f1c1f6e2d0a5c0e9a440f3f0f9f6a10"]),
    ],
)
def test_type_when_declared_then_no_other_text_is_read_as_it(
    sample_engine: Engine, kind: str, values: list[Any]
) -> None:
    for value in values:
        for role in (Role.ANALYST, Role.ADMIN):
            with pytest.raises(Rejected, match="not of the type that was declared") as caught:
                read(events(sample_engine, ({"p": value},)), f"p:{kind}", role=role)
            assert not str(value).strip() or str(value) not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("date", ["2010-01-31", None]),
        ("timestamp", ["2010-01-31", "2010-01-31T10:00Z", "2010-01-31 10:00:00.5+0130", "2010-01-31T10:00:00-05"]),
        ("integer", ["-7", 0, 12]),
        ("decimal(12,2)", ["12.50", -0.5, "0.0"]),
        ("float", ["1e-3", 1e300, "-0.5"]),
        ("uuid", ["6F1C1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"]),
    ],
)
def test_type_when_declared_then_texts_in_its_form_are_read(
    sample_engine: Engine, kind: str, values: list[Any]
) -> None:
    engine = events(sample_engine, tuple({"p": value} for value in values))
    frame, _ = read(engine, f"p:{kind}", role=Role.ANALYST)
    assert frame["p"].is_null().to_list() == [value is None for value in values]


@pytest.mark.parametrize("kind", ["uuid", "date", "timestamp", "boolean", "integer", "decimal(12,2)", "float", "text"])
def test_property_when_the_column_is_redacted_then_neither_computed_with_nor_ordered_by(
    sample_engine: Engine, kind: str
) -> None:
    engine, item = events(sample_engine, ({"q": 1},)), f"p:{kind}"
    for asked in ({"columns": ("event", "concat(p, '') as got")}, {"sort": ("p desc",)}):
        with pytest.raises(Forbidden, match="in the role analyst"):
            read(engine, item, role=Role.ANALYST, **asked)
        with pytest.raises(Rejected):
            read(engine, item, contact_info=False, **asked)
        assert read(engine, item, **asked)[0].height == 1


def test_property_when_its_type_was_found_then_its_file_is_linked_to(engine: Engine) -> None:
    engine = events(engine, ({"mobile": 15550100123, "b": True, "s": "a"},))
    request = ExportRequest("events", ANALYST, {"properties": "mobile,b,s"}, destination="local")
    job = run_export(engine, file_request(engine, request))
    assert b"15550100123" not in contents(engine, job)
    assert issue_link(engine, ANALYST, job.id).url


def test_type_when_declared_then_the_rows_can_be_filtered_and_ordered_by_it(sample_engine: Engine) -> None:
    engine = events(sample_engine)
    frame, _ = read(engine, "n:integer", conditions=("n gte -7",), sort=("n",))
    assert frame["n"].to_list() == [-7, 5]
    with pytest.raises(Rejected, match="no column 'n'"):
        read(engine, "n", conditions=("n gte -7",))


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("", "names no property"),
        ("email", "events: the property email is personal and leaves in no form; so do .ip, ip, email"),
        ("plan,Email.x", "the property Email is personal"),
        ("who.Name", "the property Name is personal"),
        ("0.name", "the property name is personal"),
        ("$set.plan", "the property .set is personal"),
        ("$ip", "the property .ip is personal"),
        ("event", "the property event would be the column 'event', which there is already"),
        ("properties", "would be the column 'properties'"),
        ("a.b,a_b", "the property a_b would be the column 'a_b'"),
        ("a,A", "the property A would be the column 'A'"),
        ("a:money", "the property a: there is no type 'money'; there are: text, uuid, integer, decimal"),
        ("a:decimal", "as in decimal.12,2."),
        ("a:decimal(40,2)", "there is no type 'decimal.40,2.'"),
        ("a b", "is not a list of properties from character 1"),
        ("a,,b", "is not a list of properties from character 3"),
        ("a; DROP TABLE users", "is not a list of properties"),
        (",".join(f"p{number}" for number in range(201)), "has 201 properties, and can have 200"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_properties_when_wrong_then_refused_before_anything_is_read(
    sample_engine: Engine, items: str, said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        select(sample_engine.dataset("events"), {"properties": items}, ())


def test_properties_when_a_condition_looks_at_what_is_withheld_then_refused(sample_engine: Engine) -> None:
    for condition in ("properties.email is_not_null", "properties.$ip starts_with 192", 'properties."NAME".x eq 1'):
        with pytest.raises(Rejected, match="is personal and leaves in no form"):
            select(sample_engine.dataset("events"), {}, (), conditions=(condition,))
    # Nor does the text of the whole tell of it.
    frame, _ = read(events(sample_engine), "s", conditions=("properties contains jane",))
    assert frame.height == 0


def test_properties_when_whole_then_without_what_is_withheld_in_any_letter_case(sample_engine: Engine) -> None:
    secrets = {"Name": "Zoe", "EMAIL": "x", "$Set": {"name": "Zoe"}, "$set_once": 1, "name": "Zoe", "$IP": "::1"}
    engine = events(sample_engine, (secrets | {"plan": "pro"}, {"plan": "pro"}, [{"name": "Zoe"}], 5))  # type: ignore[arg-type]
    admin = Principal(sample_id("user", ADMIN), ADMIN, "admin", Role.ADMIN)
    plan, _ = authorize_plan(engine, admin, make_plan(engine, ExportRequest("events", ADMIN, format="parquet")))
    with open_source(engine, [plan], Attempt("read", 1)) as opened, opened.read(opened.plans[0]) as rows:
        found = pl.concat(rows.batches)["properties"].to_list()
    assert found == ['{"plan": "pro"}', '{"plan": "pro"}', None, None]
    assert read(engine, "plan", conditions=("properties contains Zoe",))[0].is_empty()


def test_properties_when_names_are_hostile_then_just_names_or_refused(sample_engine: Engine) -> None:
    attacks = (
        "' OR true --",
        "x'); DROP TABLE users; --",
        "{where}",
        "{}",
        "%s",
        "$1",
        "}' || 'x",
        "\\",
        "'",
        "*/",
        "NULL",
    )
    engine = events(sample_engine)
    for number, attack in enumerate(attacks):
        frame, columns = read(engine, f's,"{attack}":text,"{attack}.{number}"')
        assert frame.width == 7 and frame.height == len(PROPERTIES)
        assert all(frame[name].is_null().all() for name in frame.columns[5:])
        assert all(name.replace("_", "").isalnum() or set(name) == {"_"} for name in columns)
        with pytest.raises(Rejected):
            read(engine, f"s:{attack}")


def test_properties_when_other_datasets_have_none_then_the_filter_is_unknown(sample_engine: Engine) -> None:
    with pytest.raises(Rejected, match="audit_log has no filter 'properties'"):
        make_plan(sample_engine, ExportRequest("audit_log", ADMIN, {"properties": "a"}))


def test_items_when_split_then_commas_in_types_and_quotes_stay() -> None:
    text = ' plan , amount:decimal(12, 2),utm."a,b".c ,"x:y":text'
    assert split_properties(text) == ["plan", "amount:decimal(12, 2)", 'utm."a,b".c', '"x:y":text']


@pytest.mark.parametrize("name", sorted(name for name, form in FORMATS.items() if form.write is not None))
def test_properties_when_written_in_any_format_then_proven_and_told(engine: Engine, name: str) -> None:
    engine = events(engine)
    request = ExportRequest(
        "events",
        ADMIN,
        {"properties": "n,dec,huge,b,s,mix,at:timestamp,list,utm.source"},
        format=name,
        destination="local",
        conditions=("properties.mix is_not_null",),
        sort=("timestamp desc",),
    )
    job = run_export(engine, file_request(engine, request))
    assert job.rows == len(PROPERTIES) and not job.truncated
    if FORMATS[name].reader is not None:
        assert job.verification in (Verification.PASSED, Verification.SAMPLED)
    folder = job.files[0].key.rpartition("/")[0]
    manifest = json.loads(b"".join(engine.destination("local").read(f"{folder}/manifest.json")))
    types = {column["name"]: column["type"] for column in manifest["columns"]}
    assert types["dec"] == "decimal(4,2)" and types["mix"] == "text" and types["utm_source"] == "text"
    said = {column["name"]: column["description"] for column in manifest["columns"]}
    assert "of several types (number, boolean, string, array)" in said["mix"]
    assert manifest["conditions"] == ["properties.mix is_not_null"] and manifest["sort"] == ["timestamp desc"]
    assert manifest["filters"] == {"properties": "n,dec,huge,b,s,mix,at:timestamp,list,utm.source"}
    data = contents(engine, job)
    assert b"jane@" not in data
    if name == "parquet":
        assert pl.read_parquet(data)["n"].to_list() == [None, None, -7, 5]
