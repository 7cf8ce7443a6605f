"""What a dataset says about its rows taken together: key figures and charts, and what stands out among the rows, for
the formats that people look at.

Declared in the dataset's file, computed by `formats/_figures.py`, drawn by whichever format can. What rows that are
experiments' results say of them is in `trial.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from export_pipeline.model.trial import Trial


class Aggregate(StrEnum):
    """How many rows become one number."""

    COUNT = "count"
    SUM = "sum"
    MEAN = "mean"
    SHARE = "share"


@dataclass(frozen=True)
class Measure:
    """One number out of many rows: how many there are, or have a value in the column where one is named (COUNT); the
    column's sum or mean without nulls (SUM, MEAN); or which share, 0 to 1, of the rows that COUNT would count has what
    `only` tells (SHARE). For the others `only` narrows the rows: to those whose column (its first part) has one of the
    values (the second). `unit` is shown behind the number, which has so many `decimals`."""

    title: str
    aggregate: Aggregate
    column: str = ""
    only: tuple[str, tuple[str, ...]] | None = None
    unit: str = ""
    decimals: int = 0

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it needs."""
        return frozenset(filter(None, (self.column, self.only[0] if self.only else "")))

    @property
    def adds_up(self) -> bool:
        """Whether the numbers of groups make that of all rows."""
        return self.aggregate in (Aggregate.COUNT, Aggregate.SUM)


class ChartKind(StrEnum):
    """How a chart is drawn."""

    BAR = "bar"
    LINE = "line"
    PIE = "pie"


class Bucket(StrEnum):
    """What of a column's value a chart's groups are made of: the value itself, or the day, week (from Monday) or month
    of a date or timestamp."""

    VALUE = "value"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True)
class Chart:
    """A number by groups of rows: groups by value are ordered by the number, groups in time by time. Rows whose group
    is null are left out of groups in time, and are a group of their own, `(none)`, among values; a text that says so
    is in quotation marks.

    With an `interval` (the columns of its two ends) rows are not grouped: each has its own bar, with its value of the
    measure's column, in the rows' order, and there is a chart for each combination of the values in `panels`. Raises
    ValueError where such a chart is declared otherwise."""

    title: str
    kind: ChartKind
    by: str
    measure: Measure
    bucket: Bucket = Bucket.VALUE
    interval: tuple[str, str] | None = None
    panels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        single = self.kind is ChartKind.BAR and self.bucket is Bucket.VALUE and self.measure.aggregate is Aggregate.MEAN
        if self.interval and not (single and self.measure.only is None):
            raise ValueError(
                f"the chart {self.title!r} has intervals: then it is a bar chart of a column's MEAN by value"
            )
        if self.panels and not self.interval:
            raise ValueError(f"the chart {self.title!r} has panels, which only charts with intervals have")

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it needs."""
        return self.measure.columns | {self.by, *(self.interval or ()), *self.panels}


class Tone(StrEnum):
    """What a value means to the reader."""

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"


@dataclass(frozen=True)
class Highlight:
    """The column's cells that have one of the values stand out in the tone's color."""

    column: str
    values: tuple[str, ...]
    tone: Tone


@dataclass(frozen=True)
class Report:
    """A dataset's key figures (the most important first), its charts (likewise) and its `subject`: the column that
    tells apart what is compared, such as a campaign's name. Several may have one name: `subject_id` is the column that
    tells those apart, `subject_filter` the filter that takes the ids. Where rows are looked at, `highlights` stand out,
    and the numbers of the columns in `bars` have a bar behind them. `trial`: the rows are experiments' results already.
    """

    figures: tuple[Measure, ...] = ()
    charts: tuple[Chart, ...] = ()
    subject: str = ""
    subject_id: str = ""
    subject_filter: str = ""
    highlights: tuple[Highlight, ...] = ()
    bars: tuple[str, ...] = ()
    trial: Trial | None = None

    def within(self, names: Mapping[str, str]) -> "Report":
        """What of it can be computed from a file's columns: `names` says what the file calls the dataset's columns that
        it has."""

        def measured(measure: Measure) -> Measure:
            only = (names[measure.only[0]], measure.only[1]) if measure.only else None
            return replace(measure, column=names.get(measure.column, ""), only=only)

        def charted(chart: Chart) -> Chart:
            interval = (names[chart.interval[0]], names[chart.interval[1]]) if chart.interval else None
            panels = tuple(names[panel] for panel in chart.panels)
            return replace(chart, by=names[chart.by], measure=measured(chart.measure), interval=interval, panels=panels)

        known = names.keys()
        return Report(
            figures=tuple(measured(figure) for figure in self.figures if figure.columns <= known),
            charts=tuple(charted(chart) for chart in self.charts if chart.columns <= known),
            subject=names.get(self.subject, ""),
            subject_id=names.get(self.subject_id, ""),
            subject_filter=self.subject_filter,
            highlights=tuple(
                replace(item, column=names[item.column]) for item in self.highlights if item.column in known
            ),
            bars=tuple(names[name] for name in self.bars if name in known),
            trial=self.trial.within(names) if self.trial else None,
        )
