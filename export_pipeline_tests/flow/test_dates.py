"""Named ranges of dates in time zones: where days begin and end, also on the days when clocks are changed."""

from datetime import UTC, datetime, timedelta

import pytest

from export_pipeline.flow.dates import parse_span
from export_pipeline.model.errors import Rejected

#: A Wednesday afternoon.
AT = datetime(2010, 11, 17, 15, 30, tzinfo=UTC)


def span(at: datetime = AT, **filters: str) -> tuple[str, str]:
    found = parse_span(filters, at)
    assert found.starts is not None and found.ends is not None
    return f"{found.starts:%Y-%m-%d %H:%M}", f"{found.ends:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("name", "starts", "ends"),
    [
        ("today", "2010-11-17", "2010-11-18"),
        ("yesterday", "2010-11-16", "2010-11-17"),
        ("last_day", "2010-11-16", "2010-11-17"),
        ("last_7_days", "2010-11-10", "2010-11-17"),
        ("last_week", "2010-11-08", "2010-11-15"),
        ("last_month", "2010-10-01", "2010-11-01"),
        ("month_to_date", "2010-11-01", "2010-11-18"),
    ],
)
def test_range_when_named_then_whole_days_in_utc(name: str, starts: str, ends: str) -> None:
    assert span(date_range=name) == (f"{starts} 00:00", f"{ends} 00:00")
    last = datetime.fromisoformat(ends) - timedelta(days=1)
    assert parse_span({"date_range": name}, AT).name == f"{starts}_to_{last:%Y-%m-%d}"


def test_last_week_when_asked_on_a_monday_and_a_sunday_then_monday_to_sunday_before() -> None:
    assert span(datetime(2010, 11, 15, tzinfo=UTC), date_range="last_week")[0] == "2010-11-08 00:00"
    assert span(datetime(2010, 11, 14, 23, 59, tzinfo=UTC), date_range="last_week")[0] == "2010-11-01 00:00"


def test_last_month_when_asked_in_january_then_december() -> None:
    asked = datetime(2011, 1, 31, 12, tzinfo=UTC)
    assert span(asked, date_range="last_month") == ("2010-12-01 00:00", "2011-01-01 00:00")


def test_today_when_it_is_tomorrow_there_then_their_day() -> None:
    late = datetime(2010, 11, 17, 20, tzinfo=UTC)
    assert span(late, date_range="today", timezone="Asia/Tokyo") == ("2010-11-17 15:00", "2010-11-18 15:00")
    assert span(late, date_range="today", timezone="America/New_York") == ("2010-11-17 05:00", "2010-11-18 05:00")


@pytest.mark.parametrize(
    ("day", "zone", "starts", "ends"),
    [
        # 23 hours in spring, 25 in autumn.
        ("2010-03-14", "America/New_York", "2010-03-14 05:00", "2010-03-15 04:00"),
        ("2010-11-07", "America/New_York", "2010-11-07 04:00", "2010-11-08 05:00"),
        ("2010-03-28", "Europe/Lisbon", "2010-03-28 00:00", "2010-03-28 23:00"),
        ("2010-10-31", "Europe/Lisbon", "2010-10-30 23:00", "2010-11-01 00:00"),
        # Clocks skip midnight, and pass it twice.
        ("2010-10-17", "America/Sao_Paulo", "2010-10-17 03:00", "2010-10-18 02:00"),
        ("2010-10-31", "America/Havana", "2010-10-31 04:00", "2010-11-01 05:00"),
    ],
)
def test_day_when_clocks_are_changed_then_from_its_first_moment_to_its_last(
    day: str, zone: str, starts: str, ends: str
) -> None:
    noon = datetime.fromisoformat(f"{day}T17:00:00+00:00")
    expected = (starts, ends)
    assert span(noon, date_range="today", timezone=zone) == expected
    assert span(noon + timedelta(days=1), date_range="yesterday", timezone=zone) == expected
    assert span(date_from=day, date_to=day, timezone=zone) == expected


def test_week_when_clocks_are_changed_within_then_midnight_to_midnight() -> None:
    asked = datetime(2010, 11, 3, 12, tzinfo=UTC)
    assert span(asked, date_range="last_week", timezone="Europe/Lisbon") == ("2010-10-24 23:00", "2010-11-01 00:00")


def test_timestamp_when_it_has_no_zone_then_the_named_one() -> None:
    bounds = {"date_from": "2010-07-01T10:00:00", "date_to": "2010-07-01T12:00:00Z"}
    assert span(**bounds, timezone="Europe/Lisbon") == ("2010-07-01 09:00", "2010-07-01 12:00")


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"date_range": "last_year"}, "is none of: today, yesterday"),
        ({"date_range": "today", "date_from": "2010-01-01"}, "goes with neither date_from nor date_to"),
        ({"date_range": "today", "timezone": "Lisbon"}, "'Lisbon' is not the name of a time zone"),
        ({"date_range": "today", "timezone": "../../etc/passwd"}, "is not the name of a time zone"),
        ({"date_range": "today", "timezone": "Europe"}, "is not the name of a time zone"),
        ({"timezone": "Europe/Lisbon"}, "goes with date_range, date_from or date_to"),
    ],
)
def test_dates_when_wrong_then_told_what_is_allowed(filters: dict[str, str], told: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_span(filters, AT)
    assert told in str(caught.value)
