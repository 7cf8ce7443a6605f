"""Numbers, dates and moments as people of a language and a time zone read them, and files that read back exactly."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from export_pipeline.flow.content import FileContent
from export_pipeline.formats._locale import LOCALES, Locale
from export_pipeline.formats._zone import known_zone
from export_pipeline.model.dataset import DATE, FLOAT, TEXT, TIMESTAMP, Column, decimal
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import FORMATS

COLUMNS = (
    Column("at", TIMESTAMP, "", ""),
    Column("day", DATE, "", ""),
    Column("price", decimal(12, 2), "", ""),
    Column("part", FLOAT, "", ""),
    Column("text", TEXT, "", ""),
)
NOON = datetime(2026, 11, 21, 11, 0, 0, 123456, UTC)
ROWS: list[tuple[Any, ...]] = [
    (NOON, date(2026, 11, 21), "-1234.50", 0.25, "a;b, c"),
    # In Vienna 02:30 comes twice on this day.
    (datetime(2010, 10, 31, 0, 30, tzinfo=UTC), date(1, 1, 1), "0.05", float("nan"), ""),
    (datetime(2010, 10, 31, 1, 30, tzinfo=UTC), date(9999, 12, 31), None, float("-inf"), "=1+1"),
    # Before standard time Vienna was an hour, five minutes and 21 seconds ahead.
    (datetime(1880, 1, 1, tzinfo=UTC), None, None, None, "21.11.2026"),
    (datetime(1, 1, 1, tzinfo=UTC), None, None, None, None),
    (datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None, None, None, None),
    (None, None, None, None, None),
]


def lines() -> list[tuple[Any, ...]]:
    names = [column.name for column in COLUMNS]
    return pl.DataFrame(ROWS, names, orient="row").with_columns(pl.col("price").cast(pl.Decimal(12, 2))).rows()


def written(rows: Sequence[tuple[Any, ...]], form: str = "csv", **options: str) -> list[list[str]]:
    text = tables.write(form, rows, COLUMNS, **options).decode("utf-8-sig")
    delimiter = FORMATS[form].options.model_validate(options).separator  # type: ignore[attr-defined]
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def read_back(path: Path, form: str, **options: str) -> pl.DataFrame:
    reader = FORMATS[form].reader
    assert reader is not None
    return pl.concat(reader.rows(FileContent(path), COLUMNS, FORMATS[form].options.model_validate(options), None))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["2026-11-21T11:00:00.123456Z", "2026-11-21", "-1234.50", "0.25"]),
        ({"timezone": "Europe/Vienna"}, ["2026-11-21T12:00:00.123456+01:00", "2026-11-21", "-1234.50", "0.25"]),
        ({"locale": "de"}, ["21.11.2026 11:00:00.123456 +00:00", "21.11.2026", "-1234,50", "0,25"]),
        (
            {"locale": "fr", "timezone": "America/St_Johns"},
            ["21/11/2026 07:30:00.123456 -03:30", "21/11/2026", "-1234,50", "0,25"],
        ),
        ({"locale": "en-US"}, ["11/21/2026 11:00:00.123456 +00:00", "11/21/2026", "-1234.50", "0.25"]),
        ({"locale": "en-GB"}, ["21/11/2026 11:00:00.123456 +00:00", "21/11/2026", "-1234.50", "0.25"]),
        ({"locale": "de", "decimal_comma": "false"}, [None, "21.11.2026", "-1234.50", "0.25"]),
    ],
    ids=str,
)
def test_values_when_shown_to_people_then_as_these_write_them(
    options: dict[str, str], expected: list[str | None]
) -> None:
    for form in ("csv", "tsv"):
        found = written(lines()[:1], form, **options)[1][:4]
        assert [cell for cell, wanted in zip(found, expected, strict=True) if wanted] == [*filter(None, expected)]


def test_moments_when_the_clock_is_set_back_then_their_offsets_tell_them_apart() -> None:
    found = [line[0] for line in written(lines(), timezone="Europe/Vienna")[1:]]
    assert found[1:3] == ["2010-10-31T02:30:00.000000+02:00", "2010-10-31T02:30:00.000000+01:00"]
    # What ISO 8601 has no offset for, and years that no calendar has, are said in UTC.
    assert found[3:] == [
        "1880-01-01T00:00:00.000000+00:00",
        "0001-01-01T00:00:00.000000+00:00",
        "9999-12-31T23:59:59.999999+00:00",
        "",
    ]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/St_Johns", "Pacific/Kiritimati", "Africa/Monrovia"])
@pytest.mark.parametrize("locale", [None, *get_args(Locale)])
def test_file_when_shown_to_people_then_reads_back_exactly(zone: str, locale: str | None, tmp_path: Path) -> None:
    options = {"timezone": zone} | ({"locale": locale} if locale else {})
    for form, more in (("csv", {}), ("tsv", {}), ("csv", {"quoting": "always", "null_text": "NULL"})):
        path = tmp_path / "file"
        path.write_bytes(tables.write(form, lines(), COLUMNS, **options, **more))
        assert_frame_equal(read_back(path, form, **options, **more), tables.frame(lines(), COLUMNS).collect())


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    st.lists(st.datetimes(timezones=st.just(UTC)), min_size=1, max_size=20),
    st.sampled_from(["Europe/Vienna", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_moments_when_any_then_the_text_says_the_same_moment_with_the_zones_wall_clock(
    moments: list[datetime], zone: str
) -> None:
    column = (Column("at", TIMESTAMP, "", ""), Column("day", DATE, "", ""))
    text = tables.write("csv", [(moment, None) for moment in moments], column, timezone=zone).decode("utf-8-sig")
    for line, moment in zip(text.splitlines()[1:], moments, strict=True):
        found = datetime.fromisoformat(line.rstrip(","))
        assert found == moment
        # Polars knows no summer time after 2099.
        offset = moment.astimezone(ZoneInfo(zone)).utcoffset() if 1 < moment.year < 2100 else None
        if offset is not None and offset.total_seconds() % 60 == 0:
            assert found.utcoffset() == offset


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("options", [{"locale": "de"}, {"timezone": "Europe/Vienna"}])
def test_display_when_for_machines_then_refused(form: str, options: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="timezone and locale are for people"):
        FORMATS[form].options.model_validate({**options, "profile": "raw"})


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "avro"])
@pytest.mark.parametrize("name", ["locale", "timezone"])
def test_display_when_the_format_is_for_machines_then_there_is_no_such_option(form: str, name: str) -> None:
    assert name not in FORMATS[form].options.model_fields


@pytest.mark.parametrize(("name", "value"), [("locale", "klingon"), ("locale", "../de"), ("timezone", "Vienna")])
def test_display_when_unknown_then_refused(name: str, value: str) -> None:
    for form in ("csv", "tsv", "xlsx"):
        with pytest.raises(ValidationError, match=name):
            FORMATS[form].options.model_validate({name: value})


@pytest.mark.parametrize(
    "zone", ["Mars/X", "posix/Europe/Vienna", "right/Europe/Vienna", "localtime", "posixrules", "Factory", "", "../UTC"]
)
def test_zone_when_not_everybody_who_computes_with_it_knows_it_then_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is not the IANA name of a time zone"):
        known_zone(zone)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/Argentina/Ushuaia", "EST5EDT", "Etc/GMT+12", "Eire"])
def test_zone_when_everybody_knows_it_then_as_it_is(zone: str) -> None:
    assert known_zone(zone) == zone


def test_workbook_when_a_locale_is_asked_for_then_real_dates_look_like_it() -> None:
    data = tables.write("xlsx", lines()[:3], COLUMNS, timezone="Europe/Vienna", locale="de")
    book = openpyxl.load_workbook(io.BytesIO(data))
    moment, day = book.worksheets[0]["A2"], book.worksheets[0]["B2"]
    assert (moment.value, moment.number_format) == (datetime(2026, 11, 21, 12, 0, 0, 123000), r"dd\.mm\.yyyy hh:mm:ss")
    assert (day.value, day.number_format) == (datetime(2026, 11, 21), r"dd\.mm\.yyyy")
    said = {row[0].value: row[1] for row in book["Summary"].iter_rows() if row[0].value}
    assert said["Times are those of"].value == "Europe/Vienna"
    assert said["As of (Europe/Vienna)"].number_format == r"dd\.mm\.yyyy hh:mm:ss"


def test_locales_when_listed_then_every_one_has_its_customs() -> None:
    assert set(LOCALES) == set(get_args(Locale))
