"""The axis of time of a chart in a report."""

from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from export_pipeline.formats._figures import Series
from export_pipeline.formats._pdf_branding import Branding
from export_pipeline.formats._pdf_charts import Spec, Style, lines
from export_pipeline.formats._pdf_words import WORDS
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure

STYLE = Style(WORDS["en"], Branding())


def in_time(*labels: str, bucket: Bucket = Bucket.DAY, aggregate: Aggregate = Aggregate.MEAN) -> Series:
    chart = Chart("", ChartKind.LINE, "at", Measure("", aggregate, "cost"), bucket)
    return Series(chart, labels, (1.0,) * len(labels))


def ticks(spec: Spec) -> list[tuple[date, str]]:
    return [
        (datetime.fromtimestamp(item["t"] / 1000, UTC).date(), item["label"])
        for layer in spec["layer"]
        if "label" in layer["data"]["values"][0]
        for item in layer["data"]["values"]
    ]


def test_axis_of_time_when_most_points_lie_together_then_its_labels_do_not() -> None:
    several = [in_time(*(f"2008-05-{day:02}" for day in range(1, 31))), in_time("2010-11-17")]
    found = ticks(lines(STYLE, several, 482, 104))
    assert [label for _, label in (found[0], found[-1])] == ["1 May 2008", "17 Nov 2010"]
    gaps = [(after - before).days for (before, _), (after, _) in pairwise(found)]
    assert len(gaps) == 5
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("days", "bucket", "expected"),
    [
        (("2008-05-01",), Bucket.DAY, ["1 May"]),
        (("2008-05-01", "2008-05-04"), Bucket.DAY, ["1 May", "2 May", "3 May", "4 May"]),
        (("2008-11", "2009-02"), Bucket.MONTH, ["Nov 2008", "Dec 2008", "Jan 2009", "Feb 2009"]),
    ],
)
def test_axis_of_time_when_short_then_every_day_or_month(
    days: tuple[str, ...], bucket: Bucket, expected: list[str]
) -> None:
    middle = ("2008-05-02",) if len(days) == 2 and bucket is Bucket.DAY else ()
    assert [label for _, label in ticks(lines(STYLE, [in_time(*days, *middle, bucket=bucket)], 482, 104))] == expected


def test_axis_of_time_when_narrow_then_fewer_labels() -> None:
    found = ticks(lines(STYLE, [in_time("2007-05-01", "2008-05-01", "2008-05-04")], 236, 104))
    assert len(found) == 3


def test_axis_of_time_when_its_labels_have_years_then_there_is_room_for_the_first_and_the_last() -> None:
    spec = lines(Style(WORDS["de"], Branding()), [in_time("2008-11-17", "2010-11-17")], 482, 104)
    widest = max(len(label) for _, label in ticks(spec)) * 8.5 * 0.48
    assert min(spec["padding"]["left"], spec["padding"]["right"]) >= widest / 2
