"""From date filters to one span of time: `date_from` and `date_to`, or a named `date_range`, in a named `timezone`.

Days begin and end where they do in that time zone, also where clocks are changed. Named ranges are counted from the
moment when the export was asked for, so that an attempt tomorrow delivers what was meant today.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from export_pipeline.model.errors import Rejected

DATE_FROM = "date_from"
DATE_TO = "date_to"
DATE_RANGE = "date_range"
TIMEZONE = "timezone"

#: The filters of every dataset that has a date, with their types and what they mean; `{}` is the date's name.
DATE_FILTERS = (
    (DATE_FROM, "date or timestamp", "From then on, by {}."),
    (DATE_TO, "date or timestamp", "Up to then, by {}: a plain date includes that day, a timestamp is exclusive."),
    (
        DATE_RANGE,
        "name",
        "Instead of the two: today, yesterday or last_day (the same), last_7_days (the seven before today), last_week "
        "(Monday to Sunday), last_month, month_to_date.",
    ),
    (TIMEZONE, "name", "Where the days begin and end, for example Europe/Lisbon. Default: UTC."),
)


@dataclass(frozen=True)
class Span:
    """From when on and before when, each open where it is None; `name` is for a file's name, `told` for people: the
    filters as they were asked for, with the days that a named range stands for."""

    starts: datetime | None
    ends: datetime | None
    name: str
    told: Mapping[str, str] = field(default_factory=dict)


def parse_span(filters: Mapping[str, str], at: datetime) -> Span:
    """The span that the filters name; `at` is the moment that named ranges are counted from. Raises Rejected."""
    zone = _zone(filters)
    if name := filters.get(DATE_RANGE):
        if filters.get(DATE_FROM) or filters.get(DATE_TO):
            raise Rejected(f"{DATE_RANGE} goes with neither {DATE_FROM} nor {DATE_TO}; give one or the other")
        first, last = _named(name, at.astimezone(zone).date())
        told = {DATE_RANGE: name, DATE_FROM: str(first), DATE_TO: str(last), **_told(filters, TIMEZONE)}
        return Span(_midnight(first, zone), _midnight(last + timedelta(days=1), zone), f"{first}_to_{last}", told)
    starts, _ = parse_moment(filters, DATE_FROM, zone)
    ends, whole_day = parse_moment(filters, DATE_TO, zone)
    if ends is not None and whole_day:
        last = plain_date(filters[DATE_TO])
        if last == date.max:
            raise Rejected(f"date_to={filters[DATE_TO]!r} is the last day of the calendar; leave date_to out")
        ends = _midnight(last + timedelta(days=1), zone)
    if starts is not None and ends is not None and starts >= ends:
        raise Rejected(
            f"date_from {filters[DATE_FROM]!r} is not before date_to {filters[DATE_TO]!r}; nothing lies between"
        )
    return Span(starts, ends, _name(filters, zone), _told(filters, DATE_FROM, DATE_TO, TIMEZONE))


def parse_moment(filters: Mapping[str, str], name: str, zone: tzinfo = UTC) -> tuple[datetime | None, bool]:
    """The moment that the text names, in UTC, and whether it was a plain date. Raises Rejected."""
    text = filters.get(name)
    if not text:
        return None, False
    try:
        try:
            return _midnight(plain_date(text), zone), True
        except ValueError:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC), False
    except (ValueError, OverflowError):
        raise Rejected(
            f"{name}={text!r} is neither a date (2010-11-17) nor a timestamp (2010-11-17T14:00:00Z; "
            f"{zone} if no zone is given)"
        ) from None


def plain_date(text: str) -> date:
    """The date of a text such as 2010-11-17. Raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()


def _told(filters: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: _written_out(filters[name]) for name in names if filters.get(name)}


def _written_out(text: str) -> str:
    """A day with its zeros, 2010-01-07; what is none as it stands."""
    try:
        return str(plain_date(text))
    except ValueError:
        return text


def _named(name: str, today: date) -> tuple[date, date]:
    """The first and the last day of a named range."""
    yesterday, monday, month = today - timedelta(days=1), today - timedelta(days=today.weekday()), today.replace(day=1)
    ranges = {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "last_day": (yesterday, yesterday),
        "last_7_days": (today - timedelta(days=7), yesterday),
        "last_week": (monday - timedelta(days=7), monday - timedelta(days=1)),
        "last_month": ((month - timedelta(days=1)).replace(day=1), month - timedelta(days=1)),
        "month_to_date": (month, today),
    }
    if name not in ranges:
        raise Rejected(f"{DATE_RANGE}={name!r} is none of: {', '.join(ranges)}")
    return ranges[name]


def _midnight(day: date, zone: tzinfo) -> datetime:
    """When the day begins there. Where clocks skip midnight that is the moment of the change; where they pass it twice,
    the first of the two."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _zone(filters: Mapping[str, str]) -> tzinfo:
    name = filters.get(TIMEZONE)
    if not name:
        return UTC
    if not any(filters.get(other) for other in (DATE_FROM, DATE_TO, DATE_RANGE)):
        raise Rejected(f"{TIMEZONE} says where days begin; it goes with {DATE_RANGE}, {DATE_FROM} or {DATE_TO}")
    # Looked up in the list first: what is no name of a zone might be a path.
    if name not in available_timezones():
        raise Rejected(f"{TIMEZONE}={name!r} is not the name of a time zone such as Europe/Lisbon or UTC")
    return ZoneInfo(name)


def _name(filters: Mapping[str, str], zone: tzinfo) -> str:
    """The range for a file's name: only digits, letters and hyphens."""
    if not filters.get(DATE_FROM) and not filters.get(DATE_TO):
        return ""
    bounds = []
    for name, otherwise in ((DATE_FROM, "start"), (DATE_TO, "now")):
        moment, whole_day = parse_moment(filters, name, zone)
        bounds.append(
            otherwise
            if moment is None
            else f"{plain_date(filters[name])}"
            if whole_day
            else f"{moment:%Y-%m-%dT%H%M%SZ}"
        )
    return "_to_".join(bounds)
