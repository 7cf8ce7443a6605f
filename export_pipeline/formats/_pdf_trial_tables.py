"""A comparison of variants or experiments as a document: for each metric a table of the rows' statistics and a chart
with intervals, and whether the experiments can be trusted.

What stands beside what is found in `_pdf_trial.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from export_pipeline.formats import _pdf_charts as charts
from export_pipeline.formats._pdf_document import FULL, Block, Draft, appendix, subject_label, subject_labels
from export_pipeline.formats._pdf_numbers import number, p_text, percentage
from export_pipeline.formats._pdf_trial import Result, Results
from export_pipeline.formats._pdf_words import Words
from export_pipeline.formats._significance import ALPHA
from export_pipeline.model.trial import Scale, Statistic, Trial

_DASH = "–"
#: Where a line must not end.
_SPACE = "\u00a0"


def side_by_side(draft: Draft, results: Results) -> None:
    """The subjects side by side, metric by metric; before them the checks, after them how the numbers were made."""
    words, trial, palette = draft.words, results.trial, draft.style.branding.colours.series
    labels = subject_labels(words, results.subjects)
    subjects = [
        {
            "label": label,
            "colour": palette[index % len(palette)],
            "note": words.reference if is_reference else "",
        }
        for index, (label, is_reference) in enumerate(zip(labels, results.references, strict=True))
    ]
    draft.add("heading", text=words.comparison_figures)
    _checks(draft, results, dict(zip(results.subjects, labels, strict=True)))
    for metric, found in results.metrics.items():
        rows = [
            {"figure": item.title, "cells": [_cell(words, trial, item, result) for result in found]}
            for item in trial.statistics
        ]
        if results.across:
            rows.insert(0, {"figure": words.best, "cells": [_best(words, trial, result) for result in found]})
        draft.add("subheading", text=subject_label(words, metric))
        draft.add("comparison", subjects=subjects, rows=rows, figure=words.figure, whole=True)
        _chart(draft, results, labels, metric)
    notes = [trial.method]
    if results.across:
        named = next((item.title for item in trial.statistics if item.column == trial.value), trial.value)
        notes.append(words.best_note.format(value=named))
    draft.add("notes", items=notes)
    appendix(draft, [])
    described = {column.name: column.description for column in draft.context.columns}
    draft.add("subheading", text=words.definitions)
    items = [[item.title, described[item.column]] for item in trial.statistics]
    draft.add("definitions", items=items, small=False)


def _checks(draft: Draft, results: Results, labels: Mapping[str, str]) -> None:
    check = results.trial.check
    for name, row in results.checks:
        failed, p = row[check.failed], row[check.p_value]
        if failed is None or p is None:
            continue
        told = p_text(draft.words, p).replace(" ", _SPACE)
        said = f"{check.fails if failed else check.passes} ({told})"
        if results.across:
            said = f"{labels[name]}: {said}"
        draft.add("notes", items=[said], warning=failed)


def _best(words: Words, trial: Trial, result: Result | None) -> Block:
    """Which variant stands for its experiment, and with which it is compared."""
    if result is None:
        return {"value": _DASH, "detail": "", "note": "", "mark": ""}
    value, control = subject_label(words, str(result.row[trial.variant])), subject_label(words, result.control)
    return {"value": value, "detail": words.against.format(name=control), "note": "", "mark": "", "name": True}


def _cell(words: Words, trial: Trial, item: Statistic, result: Result | None) -> Block:
    """One statistic of one subject, its interval, and whether the difference is more than chance."""
    row = result.row if result else {}
    value, detail, note, mark = row.get(item.column), "", "", ""
    bounds = _bounds(item, result)
    if bounds is not None:
        low, high = (_said(words, item, end, unit=False) for end in bounds)
        detail = f"{words.interval}: {low} – {high}"
    if item.p_value and result is not None and row[trial.is_control] is not True:
        p = row[item.p_value]
        # Rates differ by nothing, and have no p-value, where all users converted or none.
        untested = words.no_variation if item.scale is Scale.POINTS and value == 0 else words.too_few
        note = untested if p is None else p_text(words, p)
        if p is not None and p < ALPHA and value and row[trial.check.failed] is not True:
            mark = "▲" if value > 0 else "▼"
    return {"value": _said(words, item, value), "detail": detail, "note": note, "mark": mark}


def _chart(draft: Draft, results: Results, labels: list[str], metric: str) -> None:
    """The metric's values of the variants, or the differences of the experiments' best variants from their controls."""
    words, trial = draft.words, results.trial
    column = trial.difference if results.across else trial.value
    item = next((item for item in trial.statistics if item.column == column), None)
    if item is None:
        return
    shown = [
        charts.Interval(label, value, _bounds(item, result), _said(words, item, value))
        for label, result in zip(labels, results.metrics[metric], strict=True)
        for value in [result.row[item.column] if result else None]
    ]
    alt = "; ".join(f"{each.label} {each.text}" for each in shown)
    spec = charts.intervals(draft.style, shown, FULL, zero=results.across)
    draft.add("charts", columns=1, items=[draft.chart(f"{item.title}: {subject_label(words, metric)}", spec, alt)])


def _bounds(item: Statistic, result: Result | None) -> tuple[float, float] | None:
    if result is None or item.interval is None:
        return None
    low, high = (result.row[name] for name in item.interval)
    return None if low is None or high is None else (low, high)


def _said(words: Words, item: Statistic, value: float | None, *, unit: bool = True) -> str:
    """A statistic's value as its scale says; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return _DASH
    if item.scale is Scale.PERCENT:
        return percentage(words, value, item.decimals)
    if item.scale is Scale.POINTS:
        return number(words, 100 * value, item.decimals) + (_SPACE + words.points if unit else "")
    return number(words, value, item.decimals)
