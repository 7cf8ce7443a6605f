"""The comparison as a document: a table of the subjects' figures, then charts that hold all subjects.

What the numbers are, and which differences are more than chance, is found in `_pdf_comparison.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from export_pipeline.formats import _pdf_charts as charts
from export_pipeline.formats._figures import Series
from export_pipeline.formats._pdf_chart_words import title_in_time
from export_pipeline.formats._pdf_comparison import Comparison, Finding
from export_pipeline.formats._pdf_document import (
    FULL,
    TREND_HEIGHT,
    Block,
    Draft,
    appendix,
    chart_block,
    subject_labels,
)
from export_pipeline.formats._pdf_numbers import measured, number, p_text, percentage
from export_pipeline.formats._pdf_words import Words
from export_pipeline.model.report import Aggregate, Bucket, ChartKind, Measure


def comparison(draft: Draft, found: Comparison) -> None:
    """The subjects side by side: a table of figures, then charts of rates, means and of what came of it."""
    words, palette = draft.words, draft.style.branding.colours.series
    measures = [measure for measure, _ in found.figures[0].figures]
    labels = subject_labels(words, found.subjects)
    subjects = [
        {"label": label, "colour": palette[index % len(palette)], "note": _counted(words, figures.rows, index)}
        for index, (label, figures) in enumerate(zip(labels, found.figures, strict=True))
    ]
    rows = [
        {"figure": measure.title, "cells": [_compared(words, measure, finding) for finding in findings]}
        for measure, findings in zip(measures, found.findings, strict=True)
    ]
    draft.add("heading", text=words.comparison_figures)
    draft.add("comparison", subjects=subjects, rows=rows, figure=words.figure)
    tested = [index for index, measure in enumerate(measures) if measure.aggregate in (Aggregate.SHARE, Aggregate.MEAN)]
    if tested:
        draft.add("notes", items=[words.method])
    items = [
        draft.chart(
            measures[index].title,
            charts.intervals(draft.style, _intervals(words, measures[index], labels, found.findings[index]), FULL),
            "; ".join(
                f"{label} {measured(words, measures[index], finding.value)}"
                for label, finding in zip(labels, found.findings[index], strict=True)
            ),
        )
        for index in tested
    ]
    items += _compared_charts(draft, found, labels)
    if items:
        draft.add("heading", text=words.trends_and_mix)
        for item in items:
            draft.add("charts", columns=1, items=[item])
    appendix(draft, measures)


def _counted(words: Words, rows: int, index: int) -> str:
    """How many rows a subject has, and whether the others are compared with it."""
    counted = words.one_row if rows == 1 else words.several_rows.format(n=number(words, rows))
    return counted + (f" · {words.reference}" if index == 0 else "")


def _compared(words: Words, measure: Measure, finding: Finding) -> Block:
    """One cell of the comparison: the value, its interval, and what of the difference can be said."""
    low_high = finding.bounds
    detail = ""
    if low_high is not None:
        low, high = (measured(words, measure, bound, unit=False) for bound in low_high)
        detail = f"{words.interval}: {low} – {high}"
    note = ""
    if finding.too_few:
        note = words.too_few
    elif finding.no_variation:
        note = words.no_variation
    elif finding.p is not None:
        note = p_text(words, finding.p)
    mark = ("▲" if finding.higher else "▼") if finding.significant else ""
    return {"value": measured(words, measure, finding.value), "detail": detail, "note": note, "mark": mark}


def _intervals(
    words: Words, measure: Measure, labels: Sequence[str], findings: Sequence[Finding]
) -> list[charts.Interval]:
    return [
        charts.Interval(label, finding.value, finding.bounds, measured(words, measure, finding.value))
        for label, finding in zip(labels, findings, strict=True)
    ]


def _compared_charts(draft: Draft, found: Comparison, labels: Sequence[str]) -> list[Block]:
    """Mixes as stacks and trends as lines, over all subjects."""
    items = []
    for index, first in enumerate(found.figures[0].series):
        several = [figures.series[index] for figures in found.figures]
        chart = first.chart
        if chart.bucket is Bucket.VALUE and chart.kind is ChartKind.PIE:
            if any(series.has_negative for series in several):
                items += _apart(draft, several, labels)
            else:
                items.append(_stacked(draft, several, labels))
        elif chart.bucket is not Bucket.VALUE and any(series.labels for series in several):
            palette = draft.style.branding.colours.series
            legend = [{"colour": palette[at % len(palette)], "label": label} for at, label in enumerate(labels)]
            spec = charts.lines(draft.style, several, FULL, TREND_HEIGHT)
            items.append({**draft.chart(title_in_time(draft.words, first), spec, ", ".join(labels)), "keys": legend})
    return items


def _apart(draft: Draft, several: Sequence[Series], labels: Sequence[str]) -> list[Block]:
    """A chart of bars for each subject: no bar of 100 % is made of negative numbers."""
    return [
        chart_block(
            draft,
            replace(series, chart=replace(series.chart, kind=ChartKind.BAR, title=f"{series.chart.title}: {label}")),
            FULL,
        )
        for label, series in zip(labels, several, strict=True)
        if series.labels
    ]


def _stacked(draft: Draft, several: Sequence[Series], labels: Sequence[str]) -> Block:
    style, chart = draft.style, several[0].chart
    merged = sorted(_sums(several).items(), key=lambda item: (-item[1], item[0]))
    whole = Series(chart, tuple(label for label, _ in merged), tuple(value for _, value in merged))
    shown = charts.slices(style, whole)
    together = len(merged) > len(shown)
    kept = [label for label, _ in merged][: max(0, len(shown) - together)]
    rows = [
        (label, _shares(series, kept, together=len(kept) < len(shown)))
        for label, series in zip(labels, several, strict=True)
    ]
    palette = style.branding.colours.series
    keys = [{"colour": palette[at % len(palette)], "label": group.label} for at, group in enumerate(shown)]
    nothing = measured(style.words, chart.measure, 0.0)
    parts = [
        [f"{g.label} {percentage(style.words, s)}" for g, s in zip(shown, shares, strict=True)] if shares else [nothing]
        for _, shares in rows
    ]
    alt = "; ".join(f"{label}: {', '.join(told)}" for label, told in zip(labels, parts, strict=True))
    return {**draft.chart(chart.title, charts.stacks(style, rows, FULL), alt), "keys": keys}


def _sums(several: Sequence[Series]) -> dict[str, float]:
    """Each label's number over all of these series."""
    sums: dict[str, float] = {}
    for series in several:
        for label, value in zip(series.labels, series.values, strict=True):
            sums[label] = sums.get(label, 0.0) + (value or 0.0)
    return sums


def _shares(series: Series, kept: Sequence[str], *, together: bool) -> list[float]:
    """Which part of the whole each of the kept has, and the others together; none where the whole is nothing."""
    sums = _sums([series])
    total = sum(sums.values())
    if total <= 0:
        return []
    shares = [sums.get(label, 0.0) / total for label in kept]
    return [*shares, max(0.0, 1 - sum(shares))] if together else shares
