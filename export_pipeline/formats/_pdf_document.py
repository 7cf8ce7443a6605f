"""The reports as documents: which blocks come in which order, every number and text already as people read it. The
comparison is in `_pdf_side_by_side.py`.

A document is JSON for the template (`_pdf_report.typ`), which decides how a block looks and takes every text as text,
never as code. The charts that it names are in `Draft.charts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from export_pipeline.formats import _pdf_charts as charts
from export_pipeline.formats._figures import NO_VALUE, Figures, Series, one_line
from export_pipeline.formats._pdf_branding import Brand
from export_pipeline.formats._pdf_chart_words import chart_words, in_part, title_in_time
from export_pipeline.formats._pdf_charts import Spec, Style
from export_pipeline.formats._pdf_numbers import measured, number, percentage
from export_pipeline.formats._pdf_table import MOST_CHARACTERS, Table
from export_pipeline.formats._pdf_words import WORDS, Language, Words, axis_label, definition, long_date, moment
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Bucket, ChartKind, Measure

Block = dict[str, Any]

#: What a summary has room for on its one page.
_SUMMARY_FIGURES, _SUMMARY_DEFINITIONS = 6, 6
#: Charts of a summary that has neither figures nor a trend, and the most rows with intervals that each may have then.
_ALONE, _ALONE_ROWS = 4, 8
_MOST_FACTS, _FACT_CHARACTERS = 6, 84
_TITLE_CHARACTERS = 80
#: Of a subject's name, and those of them that a chart has room for whatever its font.
_SUBJECT_CHARACTERS, _CHART_CHARACTERS = 60, 27
#: Widths and heights of charts, in points: the page's, and half of it.
FULL, _HALF, TREND_HEIGHT = 482, 236, 104
_ALT_GROUPS = 12


@dataclass
class Draft:
    """A document in the making, and its charts by file name."""

    style: Style
    context: FileContext
    zone: str
    charts: dict[str, Spec] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    @property
    def words(self) -> Words:
        """The fixed words of the report's language."""
        return self.style.words

    def add(self, kind: str, **content: Any) -> None:
        """Puts a block at the end."""
        self.blocks.append({"type": kind, **content})

    def chart(self, title: str, spec: Spec, alt: str, legend: Sequence[Block] = ()) -> Block:
        """A chart as a part of a block; its file is remembered."""
        name = f"chart-{len(self.charts)}.svg"
        self.charts[name] = spec
        return {"title": title, "file": name, "alt": f"{title}: {alt}", "legend": list(legend)}


def draft(brand: Brand, language: Language, context: FileContext, zone: str) -> Draft:
    """An empty draft."""
    return Draft(Style(WORDS[language], brand.branding), context, zone)


def executive_summary(draft: Draft, figures: Figures) -> None:
    """One page: key figures, the trend, what came of it, and what the figures are."""
    words = draft.words
    _cards(draft, figures, _SUMMARY_FIGURES)
    trends, mixes = _trends(figures), _mixes(figures)
    most = _ALONE if _have_room(figures, trends, mixes) else 2
    _charts(draft, trends[:1], mixes[:most])
    # Panels are parts of one chart, whose other parts would be missed.
    if panels := sum(bool(series.bounds) for series in mixes[most:]):
        draft.add("notes", items=[words.charts_left_out.format(n=number(words, panels))])
    _note_undrawn(draft, figures)
    if not figures.rows:
        draft.add("notes", items=[words.no_rows])
    _definitions(draft, [measure for measure, _ in figures.figures[:_SUMMARY_DEFINITIONS]], small=True)


def detailed_results(draft: Draft, figures: Figures, table: Table, snapshot_rows: int) -> None:
    """Key figures, a chart for each metric, the rows, and an appendix."""
    words = draft.words
    draft.add("heading", text=words.key_figures)
    _cards(draft, figures, len(figures.figures))
    trends, mixes = _trends(figures), _mixes(figures)
    if trends or mixes:
        draft.add("heading", text=words.trends_and_mix)
        _charts(draft, trends, mixes)
        _note_undrawn(draft, figures)
    notes = _table_notes(words, table, snapshot_rows)
    if table.rows:
        draft.add(
            "rows",
            heading=words.rows_heading,
            notes=notes,
            names=[column.name for column in table.columns],
            widths=list(table.widths),
            numbers=list(table.numbers),
            rows=[list(row) for row in table.rows],
            across=table.across,
        )
    elif table.height:
        draft.add("heading", text=words.rows_heading)
        draft.add("notes", items=notes)
    else:
        draft.add("notes", items=[words.no_rows])
    appendix(draft, [measure for measure, _ in figures.figures])
    draft.add("subheading", text=words.columns)
    draft.add("definitions", items=[[column.name, column.description] for column in draft.context.columns], small=False)


def finished(
    draft: Draft, *, kind: str, title: str, brand: Brand, page_size: str, language: str, facts: list[list[str]]
) -> dict[str, Any]:
    """The document for the template."""
    branding, words, context = brand.branding, draft.words, draft.context
    colours, fonts = branding.colours, branding.fonts
    at = moment(words, context.snapshot_at.astimezone(ZoneInfo(draft.zone)))
    return {
        "language": language,
        "paper": {"a4": "a4", "letter": "us-letter"}[page_size],
        "brand": {
            "name": branding.name,
            "header": branding.header,
            "footer": branding.footer,
            "page_numbers": branding.page_numbers,
            "logo": brand.logo.name if brand.logo else "",
            "primary": colours.primary,
            "accent": colours.accent,
            "text": colours.text,
            "muted": colours.muted,
            "body_font": fonts.body,
            "heading_font": fonts.heading,
        },
        "kind": kind,
        "title": _cut(title, _TITLE_CHARACTERS),
        "facts": facts[:_MOST_FACTS],
        "origin": f"{words.export} {context.export_id}  ·  {words.snapshot} {at} ({draft.zone})",
        "date": context.snapshot_at.date().isoformat(),
        "blocks": draft.blocks,
    }


def facts(
    draft: Draft, rows: int, subjects: tuple[str, Sequence[str], int], figures: Sequence[Figures]
) -> list[list[str]]:
    """What the report is about, as pairs of a label and a text: subjects (the column, the first of them, how many there
    are), period, rows, filters."""
    words, context = draft.words, draft.context
    column, names, count = subjects
    found: list[list[str]] = []
    if count:
        named = " · ".join(subject_labels(words, names))
        many = count > len(names) or len(named) > _FACT_CHARACTERS
        found.append([words.about, words.subjects.format(n=number(words, count), column=column) if many else named])
    if period := _period(words, context, figures):
        found.append([words.period, period])
    found.append([words.rows, number(words, rows)])
    named_filters = [f"{name} = {value}" for name, value in context.filters.items() if name not in _PERIOD]
    if named_filters:
        found.append([words.filters, _cut("; ".join(named_filters), _FACT_CHARACTERS)])
    return found


#: The filters that the period tells: its ends, the zone of its days, and what it was called.
_PERIOD = ("date_from", "date_to", "timezone", "date_range")


def _period(words: Words, context: FileContext, figures: Sequence[Figures]) -> str:
    """The period asked for, else the days, or days of weeks, that the rows are of."""
    begin, end, zone = (context.filters.get(name, "") for name in _PERIOD[:3])
    if asked := _between(words, _day(words, begin), _day(words, end)):
        return f"{asked} ({zone})" if zone else asked
    days = [day for each in figures for series in each.series for day in _days(series)]
    if not days:
        return ""
    # The calendar's last week ends with its last day.
    ends = (date.fromordinal(min(day, date.max.toordinal())) for day in (min(days), max(days)))
    return _between(words, *(long_date(words, day) for day in ends))


def _days(series: Series) -> list[int]:
    """Days of the series, its first and last among them, counted from the calendar's beginning; none of months."""
    if series.period:
        return [day.toordinal() for day in series.period]
    ends = {Bucket.DAY: (0,), Bucket.WEEK: (0, 6)}.get(series.chart.bucket, ())
    return [date.fromisoformat(label).toordinal() + day for label in series.labels for day in ends]


def _between(words: Words, begin: str, end: str) -> str:
    if begin and end:
        return begin if begin == end else f"{begin} – {end}"
    return words.since.format(day=begin) if begin else words.until.format(day=end) if end else ""


def _day(words: Words, text: str) -> str:
    """A date, or a moment with its difference from UTC where it was given so; as it stands where it is neither."""
    try:
        if len(text) == len("2010-11-17"):
            return long_date(words, date.fromisoformat(text))
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.second or at.microsecond:
        return text
    return moment(words, at) + (f" {at.tzinfo}" if at.tzinfo else "")


def _cards(draft: Draft, figures: Figures, most: int) -> None:
    words = draft.words
    items = [
        {"value": measured(words, measure, value), "label": measure.title} for measure, value in figures.figures[:most]
    ]
    draft.add("cards", items=items or [{"value": number(words, figures.rows), "label": words.rows}])


def _trends(figures: Figures) -> list[Series]:
    return [series for series in figures.series if series.chart.bucket is not Bucket.VALUE and series.labels]


def _mixes(figures: Figures) -> list[Series]:
    """The charts by value that have something to draw: where numbers add up, 0 is nothing."""
    by_value = [series for series in figures.series if series.chart.bucket is Bucket.VALUE]
    return [series for series in by_value if (any(series.values) if series.chart.measure.adds_up else series.labels)]


def _have_room(figures: Figures, trends: Sequence[Series], mixes: Sequence[Series]) -> bool:
    """Whether a summary's page holds two lines of charts."""
    highest = max((len(series.bounds) for series in mixes[:_ALONE]), default=0)
    return not figures.figures and not trends and highest <= _ALONE_ROWS


def _charts(draft: Draft, trends: Sequence[Series], mixes: Sequence[Series]) -> None:
    """Trends as wide as the page, then the others two in a row; a last one alone has the page's width."""
    for series in trends:
        draft.add("charts", columns=1, items=[chart_block(draft, series, FULL)])
    for start in range(0, len(mixes), 2):
        pair = mixes[start : start + 2]
        width = _HALF if len(pair) == 2 else FULL
        draft.add("charts", columns=len(pair), items=[chart_block(draft, series, width) for series in pair])


def _note_undrawn(draft: Draft, figures: Figures) -> None:
    if panels := figures.panels_left_out:
        draft.add("notes", items=[chart_words(draft.words).not_drawn.format(n=number(draft.words, panels))])


def chart_block(draft: Draft, series: Series, width: int) -> Block:
    """The chart of a series, as its kind and numbers ask for."""
    style, chart = draft.style, series.chart
    if chart.bucket is not Bucket.VALUE:
        spec = charts.lines(style, [series], width, TREND_HEIGHT)
        monthly = chart.bucket is Bucket.MONTH
        first, last = (
            date.fromisoformat(at + "-01" if monthly else at) for at in (series.labels[0], series.labels[-1])
        )
        year = first.year != last.year
        span = " – ".join(axis_label(style.words, day, monthly=monthly, year=year) for day in (first, last))
        return draft.chart(title_in_time(style.words, series), spec, span)
    if series.bounds:
        single = [
            charts.Interval(label, value, bounds, measured(style.words, chart.measure, value))
            for label, value, bounds in zip(series.labels, series.values, series.bounds, strict=True)
        ]
        alt = "; ".join(_with_ends(style, chart.measure, item) for item in single[:_ALT_GROUPS])
        title = chart.title + in_part(style.words, len(single), series.total)
        return draft.chart(title, charts.intervals(style, single, width), alt)
    shown = charts.slices(style, series) if chart.kind is ChartKind.PIE else charts.groups(style, series)
    texts = [(group.label, measured(style.words, chart.measure, group.value)) for group in shown]
    alt = "; ".join(f"{label} {value}" for label, value in texts[:_ALT_GROUPS])
    if chart.kind is not ChartKind.PIE or any(group.share is None for group in shown):
        # Where numbers add up, the last bar is that of all others.
        title = chart.title + ("" if chart.measure.adds_up else in_part(style.words, len(shown), len(series.labels)))
        return draft.chart(title, charts.bars(style, series, shown, width), alt)
    return draft.chart(chart.title, charts.donut(style, shown), alt, _legend(style, shown, chart.measure))


def _with_ends(style: Style, measure: Measure, item: charts.Interval) -> str:
    ends = " – ".join(measured(style.words, measure, end, unit=False) for end in item.bounds or ())
    return f"{item.label} {item.text}" + (f" ({ends})" if ends else "")


def _legend(style: Style, shown: Sequence[charts.Group], measure: Measure) -> list[Block]:
    palette = style.branding.colours.series
    return [
        {
            "colour": palette[index % len(palette)],
            "label": group.label,
            "value": measured(style.words, measure, group.value),
            "share": percentage(style.words, group.share or 0.0, 1),
        }
        for index, group in enumerate(shown)
    ]


def _table_notes(words: Words, table: Table, rows: int) -> list[str]:
    shown, total = number(words, table.height), number(words, rows)
    notes = [
        words.first_rows.format(shown=shown, all=total) if table.height < rows else words.all_rows.format(all=total)
    ]
    if table.constant:
        notes.append(words.same_everywhere + "; ".join(f"{name} = {value}" for name, value in table.constant) + ".")
    if table.left_out:
        notes.append(words.left_out.format(columns=", ".join(table.left_out)))
    if table.shortened:
        notes.append(words.shortened.format(n=MOST_CHARACTERS))
    return notes


def appendix(draft: Draft, measures: Sequence[Measure]) -> None:
    """The filters, and what the figures are."""
    words, context = draft.words, draft.context
    draft.add("heading", text=words.appendix)
    draft.add("subheading", text=words.filters)
    if context.filters:
        draft.add("definitions", items=[[name, value] for name, value in context.filters.items()], small=False)
    else:
        draft.add("notes", items=[words.no_filters])
    _definitions(draft, measures, small=False)


def _definitions(draft: Draft, measures: Sequence[Measure], *, small: bool) -> None:
    if measures:
        if not small:
            draft.add("subheading", text=draft.words.definitions)
        items = [[measure.title, definition(draft.words, measure)] for measure in measures]
        draft.add("definitions", items=items, small=small)


def subject_label(words: Words, name: str) -> str:
    """What a subject is called, in one line; one of nothing but spaces, like one without a value."""
    return _cut(_said(words, name), _SUBJECT_CHARACTERS)


def subject_labels(words: Words, names: Sequence[str]) -> list[str]:
    """What subjects are called, each unlike the others in charts, too: those that begin alike go on from where they
    differ, and where even so two are alike, all are numbered."""
    labels = [subject_label(words, name) for name in names]
    said = [_said(words, name) for name in names]
    begins = [_cut(text, _CHART_CHARACTERS) for text in said]
    for index, text in enumerate(said):
        alike = [other for other, begin in zip(said, begins, strict=True) if begin == begins[index]]
        if len(alike) > 1:
            different = (at for at, letters in enumerate(zip(*alike, strict=False)) if len(set(letters)) > 1)
            labels[index] = _cut_middle(text, next(different, min(map(len, alike))))
    if len({_cut(label, _CHART_CHARACTERS) for label in labels}) < len(labels):
        labels = [f"{index}. {label}" for index, label in enumerate(labels, 1)]
    return labels


def _said(words: Words, name: str) -> str:
    return words.none if name == NO_VALUE else one_line(name) or words.none


def _cut_middle(text: str, at: int) -> str:
    """The text's beginning, and what there is from this place on, or its end where that is shorter."""
    half = _CHART_CHARACTERS // 2
    if len(text) <= _CHART_CHARACTERS:
        return text
    return _cut(text, half) + _cut(text[min(at, len(text) - half) :], half)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
