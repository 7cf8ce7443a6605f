"""The datasets about leads, against the raw table computed another way."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.datasets.reading import MANAGER, read, table

KEYS = ["day", "location", "category", "source"]


@pytest.fixture(scope="module")
def leads(sample_engine: Engine) -> pl.DataFrame:
    """The raw leads, with the names that they refer to."""
    return table(
        sample_engine,
        """
        SELECT l.id::text, l.owner_id::text, l.title, l.description, l.price, l.status, l.email, l.phone, l.created_at,
            l.contacted_at, p.name AS location, c.name AS category, s.name AS source
        FROM leads l JOIN lead_sources s ON s.id = source_id LEFT JOIN locations p ON p.id = location_id
            LEFT JOIN categories c ON c.id = category_id
        """,
    )


SAYS = pl.concat_str("title", "description", separator="\n", ignore_nulls=True).str.to_lowercase()


@pytest.mark.parametrize(
    ("filters", "rule"),
    [
        ({}, pl.lit(True)),
        ({"status": "converted,rejected"}, pl.col("status").is_in(["converted", "rejected"])),
        ({"location_names": 'Lisbon,"O\'Fallon, MO"'}, pl.col("location").is_in(["Lisbon", "O'Fallon, MO"])),
        ({"categories": '"Furniture, home"'}, pl.col("category") == "Furniture, home"),
        ({"sources": "Forum,Partners"}, pl.col("source").is_in(["Forum", "Partners"])),
        ({"min_price": "2000"}, pl.col("price") >= 2000),
        ({"max_price": "99.5"}, pl.col("price") <= Decimal("99.5")),
        ({"min_price": "500", "max_price": "600"}, pl.col("price").is_between(500, 600)),
        ({"has_email": "true"}, pl.col("email").is_not_null()),
        ({"has_email": "false", "has_phone": "true"}, pl.col("email").is_null() & pl.col("phone").is_not_null()),
        ({"keywords": "SOFA"}, SAYS.str.contains("sofa", literal=True)),
        ({"keywords": "garage,fahrrad"}, SAYS.str.contains_any(["garage", "fahrrad"])),
        ({"exclude_keywords": "sofa,Price"}, ~SAYS.str.contains_any(["sofa", "price"])),
        ({"keywords": "0%"}, SAYS.str.contains("0%", literal=True)),
        ({"keywords": "a_7"}, SAYS.str.contains("a_7", literal=True)),
        ({"keywords": "c:\\temp_"}, SAYS.str.contains("c:\\temp_", literal=True)),
        ({"keywords": "two rooms no. 1"}, SAYS.str.contains("two rooms no. 1", literal=True)),
        (
            {"date_from": "2010-10-20", "date_to": "2010-10-21"},
            pl.col("created_at").dt.day().is_in([20, 21]) & (pl.col("created_at").dt.month() == 10),
        ),
    ],
    ids=str,
)
def test_leads_when_filtered_then_these_and_no_others(
    sample_engine: Engine, leads: pl.DataFrame, filters: dict[str, str], rule: pl.Expr
) -> None:
    expected = set(leads.filter(rule)["id"])
    assert set(read(sample_engine, "leads", filters)["id"]) == expected
    assert len(expected) > 0
    assert bool(filters) == (len(expected) < 3000)


@pytest.mark.parametrize("wildcard", ["%sofa", "so_a", "sofa%", "so\\fa", "no. 1?"])
def test_keywords_when_they_look_like_patterns_then_are_literal(sample_engine: Engine, wildcard: str) -> None:
    assert read(sample_engine, "leads", {"keywords": wildcard}).height == 0
    assert read(sample_engine, "leads", {"exclude_keywords": wildcard, "limit": "3000"}).height == 3000


def test_columns_when_read_then_as_in_the_table(sample_engine: Engine, leads: pl.DataFrame) -> None:
    shared = ["id", "title", "description", "price", "status", "email", "phone", "location", "category", "source"]
    found = read(sample_engine, "leads").select(shared)
    assert_frame_equal(found, leads.select(shared), check_row_order=False, check_dtypes=False)


def test_range_when_named_then_counted_from_when_it_was_asked_for(sample_engine: Engine, leads: pl.DataFrame) -> None:
    asked = datetime(2010, 11, 3, 12, tzinfo=UTC)
    filters = {"date_range": "last_week", "timezone": "Europe/Lisbon"}
    found = read(sample_engine, "leads", filters, at=asked)
    starts, ends = datetime(2010, 10, 24, 23, tzinfo=UTC), datetime(2010, 11, 1, tzinfo=UTC)
    within = pl.col("created_at").is_between(starts, ends, closed="left")
    assert set(found["id"]) == set(leads.filter(within)["id"])
    assert read(sample_engine, "leads", filters).height == 0, "counted from now"


@pytest.mark.parametrize("filters", [{}, {"status": "converted,rejected", "min_price": "300"}])
@pytest.mark.parametrize("email", ["admin@example.com", MANAGER])
def test_analytics_when_computed_another_way_then_equal(
    sample_engine: Engine, leads: pl.DataFrame, email: str, filters: dict[str, str]
) -> None:
    if filters:
        leads = leads.filter(pl.col("status").is_in(["converted", "rejected"]), pl.col("price") >= 300)
    if email == MANAGER:
        leads = leads.filter(pl.col("owner_id") == sample_id("user", MANAGER))
    wait = (pl.col("contacted_at") - pl.col("created_at")).dt.total_microseconds() / 1e6
    price = pl.col("price").cast(pl.Float64)
    expected = (
        leads.group_by(pl.col("created_at").dt.date().alias("day"), "location", "category", "source")
        .agg(
            leads=pl.len(),
            **{
                f"{state}_leads": (pl.col("status") == state).sum()
                for state in ("new", "contacted", "qualified", "converted", "rejected")
            },
            with_email=pl.col("email").is_not_null().sum(),
            with_phone=pl.col("phone").is_not_null().sum(),
            conversion_rate=(pl.col("status") == "converted").mean(),
            average_price=price.mean(),
            price_p25=price.quantile(0.25, "linear"),
            price_median=price.median(),
            price_p75=price.quantile(0.75, "linear"),
            mean_seconds_to_contact=wait.mean(),
            median_seconds_to_contact=wait.median(),
        )
        .sort(KEYS)
    )
    found = read(sample_engine, "lead_analytics", filters, email=email).sort(KEYS)
    assert found["leads"].sum() == leads.height
    exact = [name for name in found.columns if name != "average_price"]
    assert_frame_equal(found.select(exact), expected.select(exact), check_dtypes=False)
    gap = found["average_price"].cast(pl.Float64) - expected["average_price"]
    assert gap.abs().max() < 0.00501  # rounded to cents


def test_list_when_malformed_then_told_how_to_write_it(sample_engine: Engine) -> None:
    for text in ("", "a,,b", 'a,"b', ",", "a\nb"):
        with pytest.raises(Rejected, match="is not a list of values"):
            read(sample_engine, "leads", {"keywords": text})
    with pytest.raises(Rejected, match="status='nwe' is none of: new, contacted, qualified, converted, rejected"):
        read(sample_engine, "leads", {"status": "new,nwe"})
    with pytest.raises(Rejected, match="min_price=10 is more than max_price=5: nothing lies between"):
        read(sample_engine, "leads", {"min_price": "10", "max_price": "5"})
    with pytest.raises(Rejected, match="can have 1,000"):
        read(sample_engine, "leads", {"keywords": ",".join(map(str, range(1001)))})
