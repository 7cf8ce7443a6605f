"""From a request's texts to predicates: what is refused, what a range means, how values are quoted."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from export_pipeline.cli.request_options import parse_filters
from export_pipeline.datasets.campaign_results import DATASET
from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.query import select
from export_pipeline.flow.values import parse_list
from export_pipeline.model.access import SIGHTS, Role, Scope, Sensitivity, Sight
from export_pipeline.model.dataset import TEXT, Dataset, Filter
from export_pipeline.model.errors import Rejected

CAMPAIGN = "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"


def predicates(**filters: str) -> str:
    return select(DATASET, {"campaign_id": CAMPAIGN, **filters}, ()).reaching(Scope.ALL).rows().as_string()


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({}, "needs the filter campaign_id"),
        ({"campaign_id": ""}, "needs the filter campaign_id"),
        ({"campaign_id": "42"}, "campaign_id='42' is not a UUID"),
        ({"campaign_id": CAMPAIGN, "colour": "red"}, "has no filter 'colour'; it has: campaign_id, ids, date_"),
        ({"campaign_id": CAMPAIGN, "date_from": "yesterday"}, "date_from='yesterday' is neither a date"),
        ({"campaign_id": CAMPAIGN, "date_to": "2010-02-30"}, "date_to='2010-02-30' is neither a date"),
        ({"campaign_id": CAMPAIGN, "date_to": "9999-12-31"}, "date_to='9999-12-31' is the last day"),
        ({"campaign_id": CAMPAIGN, "date_from": "2010-02-02", "date_to": "2010-02-01"}, "nothing lies between"),
        (
            {"campaign_id": CAMPAIGN, "date_from": "2010-02-02T10:00:00Z", "date_to": "2010-02-02T10:00:00Z"},
            "nothing lies between",
        ),
    ],
)
def test_select_when_a_filter_is_wrong_then_it_is_named(filters: dict[str, str], told: str) -> None:
    with pytest.raises(Rejected) as caught:
        select(DATASET, filters, ())
    assert told in str(caught.value)


def test_date_to_when_a_plain_date_then_that_day_is_included() -> None:
    assert "(call.started_at) < '2010-02-02 00:00:00+00:00'" in predicates(date_to="2010-02-01")


def test_date_to_when_a_timestamp_then_it_is_exclusive_and_zones_are_honoured() -> None:
    assert "(call.started_at) < '2010-02-01 09:30:00+00:00'" in predicates(date_to="2010-02-01T10:30:00+01:00")


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        (
            {"date_from": "2008-5-5", "date_to": "2008-05-10", "timezone": "Asia/Tokyo"},
            {"date_from": "2008-05-05", "date_to": "2008-05-10", "timezone": "Asia/Tokyo"},
        ),
        ({"date_to": "2008-05-10T12:00Z"}, {"date_to": "2008-05-10T12:00Z"}),
        (
            {"date_range": "last_week"},
            {"date_range": "last_week", "date_from": "2010-11-08", "date_to": "2010-11-14"},
        ),
    ],
)
def test_summary_when_dates_were_asked_for_then_as_they_were_and_moments_for_programs(
    filters: dict[str, str], told: dict[str, str]
) -> None:
    asked_at = datetime(2010, 11, 17, 15, 30, tzinfo=UTC)
    selection = select(DATASET, {"campaign_id": CAMPAIGN, **filters}, (), asked_at)
    assert selection.summary == {"campaign_id": CAMPAIGN, **told}
    assert "date_before" in selection.described


def test_date_from_when_a_timestamp_has_no_zone_then_it_is_utc() -> None:
    assert "(call.started_at) >= '2010-02-01 10:30:00+00:00'" in predicates(date_from="2010-02-01T10:30:00")


@pytest.mark.parametrize(
    ("filters", "period"),
    [
        ({}, ""),
        ({"date_from": "2010-01-01", "date_to": "2010-01-31"}, "2010-01-01_to_2010-01-31"),
        ({"date_from": "2010-01-01"}, "2010-01-01_to_now"),
        ({"date_to": "2010-01-31T12:00:00Z"}, "start_to_2010-01-31T120000Z"),
    ],
)
def test_period_when_a_range_is_asked_for_then_it_names_the_file(filters: dict[str, str], period: str) -> None:
    assert select(DATASET, {"campaign_id": CAMPAIGN, **filters}, ()).span.name == period


OTHER = "7f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a11"


@pytest.mark.parametrize("text", [f"{CAMPAIGN},{OTHER}", f"{CAMPAIGN}, {OTHER}", f'"{CAMPAIGN}","{OTHER}",{CAMPAIGN}'])
def test_list_when_given_then_any_of_its_values(text: str) -> None:
    selection = select(DATASET, {"campaign_id": text}, ())
    text = selection.reaching(Scope.ALL).rows().as_string()
    assert text.endswith(f"WHERE (campaign.id IN ('{UUID(CAMPAIGN).hex}'::uuid, '{UUID(OTHER).hex}'::uuid))")
    assert selection.described == {"campaign_id": f"{CAMPAIGN},{OTHER}"}


def test_list_when_one_value_is_wrong_then_it_is_named() -> None:
    with pytest.raises(Rejected, match="campaign_id='42' is not a UUID"):
        select(DATASET, {"campaign_id": f"{CAMPAIGN},42"}, ())


def test_list_when_a_value_holds_commas_and_quotes_then_quoted_as_in_csv() -> None:
    assert parse_list('"Furniture, home","the ""best""",plain', "names") == ["Furniture, home", 'the "best"', "plain"]


def test_campaigns_when_a_list_then_found_by_the_index(sample_url: str) -> None:
    campaigns = ",".join(sample_id("campaign", month) for month in ("2010-10", "2010-11"))
    rows = select(DATASET, {"campaign_id": campaigns}, ()).reaching(Scope.OWN, sample_id("user", "x")).rows()
    with psycopg.connect(sample_url) as connection:
        lines = connection.execute(sql.SQL("EXPLAIN SELECT 1 {}").format(rows)).fetchall()
    plan = "\n".join(line[0] for line in lines)
    assert "Index Cond: (campaign_id = campaign.id)" in plan and "calls_contact" in plan
    assert "Seq Scan on contacts" not in plan and "Seq Scan on calls" not in plan


@pytest.mark.parametrize(
    ("scope", "expected"), [(Scope.OWN, "(campaign.owner_id) =  'me' AND "), (Scope.ALL, "WHERE (campaign.id IN")]
)
def test_scope_when_own_then_always_compared_with_the_owner(scope: Scope, expected: str) -> None:
    text = select(DATASET, {"campaign_id": CAMPAIGN}, ()).reaching(scope, "me").rows().as_string()
    assert expected.replace("  ", " ") in text
    assert ("owner_id" in text) == (scope is Scope.OWN)


def test_where_when_the_source_names_places_for_it_then_in_each_of_them() -> None:
    source = "(SELECT 1 FROM a WHERE {where} UNION SELECT 2 FROM b WHERE {where} AND c <> '{}') AS t"
    dataset = replace(DATASET, source=source, cursor=None)
    text = select(dataset, {"campaign_id": CAMPAIGN, "limit": "7"}, ()).reaching(Scope.OWN, "me").rows().as_string()
    assert text.count("((campaign.owner_id) = 'me' AND (campaign.id IN (") == 2
    assert text.endswith("AND c <> '{}') AS t")


def test_dataset_when_its_owner_cannot_be_told_then_it_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="declare owner="):
        replace(DATASET, owner=None)
    with pytest.raises(ValueError, match="declare owner="):
        replace(DATASET, owner=replace(DATASET.owner, column=""), filters=())


def test_sensitivity_when_looked_up_then_every_role_and_secrets_for_nobody() -> None:
    for scope in Scope:
        assert set(SIGHTS[scope]) == set(Role)
        for sees in SIGHTS[scope].values():
            assert set(sees) == set(Sensitivity)
            assert (sees[Sensitivity.SECRET], sees[Sensitivity.INTERNAL]) == (Sight.NEVER, Sight.PLAIN)
    personal = {(s, r) for s in Scope for r in Role if SIGHTS[s][r][Sensitivity.PERSONAL] is Sight.PLAIN}
    assert {
        (Scope.ALL, Role.OPERATOR),
        (Scope.ALL, Role.CAMPAIGN_MANAGER),
        (Scope.ALL, Role.ANALYST),
    } & personal == set()
    assert (Scope.OWN, Role.OPERATOR) in personal and (Scope.ALL, Role.COMPLIANCE) in personal


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (("campaign_id=a", "campaign_id=b", "limit=3"), {"campaign_id": "a,b", "limit": "3"}),
        (("campaign_id=a,b",), {"campaign_id": "a,b"}),
        (('ids="x,y"', "ids=z"), {"ids": '"x,y",z'}),
    ],
)
def test_filters_when_repeated_on_the_command_line_then_a_list(
    pairs: tuple[str, ...], expected: dict[str, str]
) -> None:
    assert parse_filters(pairs, DATASET) == expected


def test_filters_when_repeated_and_one_value_only_then_refused() -> None:
    for pairs, dataset in ((("limit=1", "limit=2"), DATASET), (("campaign_id=a", "campaign_id=b"), None)):
        with pytest.raises(Rejected, match="is given twice"):
            parse_filters(pairs, dataset)


def test_columns_when_chosen_then_in_that_order() -> None:
    chosen = select(DATASET, {"campaign_id": CAMPAIGN}, ("phone", "name")).columns
    assert [column.name for column in chosen] == ["phone", "name"]


@pytest.mark.parametrize(
    ("columns", "told"), [(("phne",), "no column 'phne'"), (("phone", "phone"), "asked for twice")]
)
def test_columns_when_wrong_then_named(columns: tuple[str, ...], told: str) -> None:
    with pytest.raises(Rejected, match=told):
        select(DATASET, {"campaign_id": CAMPAIGN}, columns)


@settings(derandomize=True, max_examples=80)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_literal_when_any_text_then_it_cannot_leave_its_quotes(value: str) -> None:
    dataset = Dataset(
        name="d",
        title="",
        description="",
        source="t",
        columns=DATASET.columns,
        filters=(Filter("name", TEXT, "t.name = {value}", ""),),
        order_by="1",
        owner=DATASET.owner,
        access={},
    )
    composed = select(dataset, {"name": value}, ()).reaching(Scope.ALL).rows().as_string()
    literal = composed.removeprefix("FROM t WHERE (t.name = ").removesuffix(")")
    escaped = literal.startswith(" E'")
    inner = literal.removeprefix(" E").removeprefix("'").removesuffix("'")
    unquoted = inner.replace("''", "")
    assert "'" not in unquoted
    if escaped:
        assert "\\" not in unquoted.replace("\\\\", "")
    assert inner.replace("''", "'").replace("\\\\" if escaped else "", "\\" if escaped else "") == value
