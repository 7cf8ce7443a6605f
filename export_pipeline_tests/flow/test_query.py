"""From a request's texts to predicates: what is refused, what a range means, how values are quoted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_pipeline.datasets.campaign_results import DATASET
from export_pipeline.flow.query import select
from export_pipeline.model.access import Scope
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


def test_columns_when_chosen_then_in_that_order() -> None:
    chosen = select(DATASET, {"campaign_id": CAMPAIGN}, ("phone", "name")).columns
    assert [column.name for column in chosen] == ["phone", "name"]


@pytest.mark.parametrize(
    ("columns", "told"), [(("phne",), "no column 'phne'"), (("phone", "phone"), "asked for twice")]
)
def test_columns_when_wrong_then_named(columns: tuple[str, ...], told: str) -> None:
    with pytest.raises(Rejected, match=told):
        select(DATASET, {"campaign_id": CAMPAIGN}, columns)


@settings(derandomize=True, max_examples=200)
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
