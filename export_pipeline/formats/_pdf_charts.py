"""A report's charts as Vega-Lite specs with their numbers inside.

Nothing is left to measured text (fixed paddings, labels cut by their characters, chosen ticks), so that a chart is
the same on every machine, whatever fonts that has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from export_pipeline.formats._figures import NO_VALUE, Series
from export_pipeline.formats._pdf_axes import in_time, milliseconds, number_format, ticks_of
from export_pipeline.formats._pdf_branding import Branding, Fonts
from export_pipeline.formats._pdf_numbers import measured, number, percentage
from export_pipeline.formats._pdf_ticks import time_ticks
from export_pipeline.formats._pdf_words import Words
from export_pipeline.model.report import Aggregate, Bucket

#: Groups drawn one by one; those after are taken together where their numbers add up.
_MOST_BARS = 8
_MOST_SLICES = 6
#: Room for labels (points) in a chart as wide as the page, and in a narrower one.
_WIDE = 300
_WIDE_LABEL, _NARROW_LABEL = 152, 102
#: Between a label and its plot.
_LABEL_GAP = 6
#: What labels and a plot keep of it beside long numbers.
_LEAST_LABEL, _LEAST_PLOT = 50, 40
_TEXT_SIZE = 8.5
#: A character's mean width (em) in the default font, and in a wide one, which any other may be.
_DEFAULT_WIDTH, _OTHER_WIDTH = 0.48, 0.64
#: Points of a line up to which each is marked.
_MOST_MARKED = 40
#: The longest label of an axis of time, such as 17. Nov 2010.
_DATE_CHARACTERS = 12
_BAR_HEIGHT = 17
#: A part of a stack narrower than this has no room for its number.
_LEAST_NAMED = 0.07

Spec = dict[str, Any]


@dataclass(frozen=True)
class Style:
    """What all charts of a report share."""

    words: Words
    branding: Branding


@dataclass(frozen=True)
class Group:
    """One bar, slice or row of a chart's legend."""

    label: str
    value: float | None
    share: float | None


def format_locale(words: Words) -> dict[str, Any]:
    """How Vega-Lite writes the numbers on axes (a d3 locale)."""
    return {
        "decimal": words.decimal,
        "thousands": words.group,
        "grouping": [3],
        "currency": ["", ""],
        "percent": words.percent,
    }


def groups(style: Style, series: Series, most: int = _MOST_BARS) -> list[Group]:
    """The series' groups, the last of them the sum of those that have no place where numbers add up. Shares of a whole
    are told where they add up and none is negative."""
    adds_up = series.chart.measure.adds_up
    labels = [style.words.none if label == NO_VALUE else label for label in series.labels]
    pairs = [pair for pair in zip(labels, series.values, strict=True) if pair[1] or not adds_up]
    total = sum(value or 0.0 for _, value in pairs) if adds_up and not series.has_negative else 0.0
    if len(pairs) > most:
        if adds_up:  # no great loss is one of the others
            pairs.sort(key=lambda pair: -abs(pair[1] or 0))
        rest = pairs[most - 1 :] if adds_up else []
        pairs = pairs[: most - 1 if adds_up else most]
        if rest:
            name = style.words.others.format(n=number(style.words, len(rest)))
            pairs.append((name, sum(value or 0.0 for _, value in rest)))
    return [Group(label, value, (value or 0.0) / total if total else None) for label, value in pairs]


def donut(style: Style, shown: Sequence[Group]) -> Spec:
    """Shares of a whole; the names are in a legend that the page sets beside it."""
    palette = style.branding.colours.series
    values = [
        {"order": index, "value": float(group.value or 0), "colour": palette[index % len(palette)]}
        for index, group in enumerate(shown)
    ]
    return _spec(
        style,
        150,
        150,
        0,
        {
            "data": {"values": values},
            "mark": {"type": "arc", "innerRadius": 44, "outerRadius": 72, "stroke": "white", "strokeWidth": 1.5},
            "encoding": {
                "theta": {"field": "value", "type": "quantitative", "stack": True},
                "order": {"field": "order", "type": "quantitative"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
            },
        },
    )


def slices(style: Style, series: Series) -> list[Group]:
    """The groups of a donut."""
    return groups(style, series, _MOST_SLICES)


def bars(style: Style, series: Series, shown: Sequence[Group], width: int) -> Spec:
    """Numbers by group, the largest first, each written at the right of its bar, which begins at 0."""
    texts = [_bar_text(style, series.chart.measure, group) for group in shown]
    left, right, plot_width = _sides(style, width, texts)
    numbers = [float(group.value or 0) for group in shown]
    lowest, highest = min([0.0, *numbers]), max([0.0, *numbers])
    values = [
        {
            "row": index,
            "label": _cut(style, group.label, left),
            "value": value,
            "end": max(0.0, value),
            "text": text,
        }
        for index, (group, value, text) in enumerate(zip(shown, numbers, texts, strict=True))
    ]
    height = _BAR_HEIGHT * max(1, len(values))
    row = {"field": "row", "type": "ordinal", "axis": None}
    scale = {"domain": [lowest, highest if lowest or highest else 1.0], "nice": True}
    x = {"type": "quantitative", "axis": None, "scale": scale}
    colours = style.branding.colours
    layers = [
        {
            "mark": {"type": "bar", "height": 10, "color": colours.primary, "cornerRadiusEnd": 1},
            "encoding": {"x": {**x, "field": "value"}},
        },
        _text(
            {"dx": 5, "align": "left", "color": colours.text}, {"x": {**x, "field": "end"}, "text": {"field": "text"}}
        ),
        _text({"x": -_LABEL_GAP, "align": "right", "color": colours.text}, {"text": {"field": "label"}}),
    ]
    if lowest:
        layers.append(_zero_line(style, x, _BAR_HEIGHT))
    plot = {"data": {"values": values}, "encoding": {"y": row}, "layer": layers}
    return _spec(style, plot_width, height, {"left": left, "right": right, "top": 2, "bottom": 2}, plot)


@dataclass(frozen=True)
class Interval:
    """A value with its interval of 95 %, where that can be told."""

    label: str
    value: float | None
    bounds: tuple[float, float] | None
    text: str


def intervals(style: Style, shown: Sequence[Interval], width: int, *, zero: bool = False) -> Spec:
    """Values with their intervals, one beneath the other in the order given, in the colours of the subjects; `zero` is
    marked where it is what they are compared with."""
    palette, colours = style.branding.colours.series, style.branding.colours
    left, right, plot_width = _sides(style, width, [item.text for item in shown])
    values = [
        {
            "row": index,
            "label": _cut(style, item.label, left),
            "value": item.value,
            "low": item.bounds[0] if item.bounds else item.value,
            "high": item.bounds[1] if item.bounds else item.value,
            "text": item.text,
            "colour": palette[index % len(palette)],
        }
        for index, item in enumerate(shown)
    ]
    row = {"field": "row", "type": "ordinal", "axis": None}
    color = {"field": "colour", "type": "nominal", "scale": None}
    scale = {"zero": zero, "nice": False, "padding": 6}
    x = {"type": "quantitative", "axis": None, "scale": scale}
    layers = [
        {"mark": {"type": "rule", "color": "#e3e6ea", "x": 0, "x2": plot_width}},
        {
            "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.55},
            "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": color},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
            "encoding": {"x": {**x, "field": "value"}, "color": color},
        },
        _text({"x": plot_width + 8, "align": "left", "color": colours.text}, {"text": {"field": "text"}}),
        _text({"x": -_LABEL_GAP, "align": "right", "color": colours.text}, {"text": {"field": "label"}}),
    ]
    if zero:
        layers.insert(1, _zero_line(style, x, _BAR_HEIGHT + 3))
    plot = {"data": {"values": values}, "encoding": {"y": row}, "layer": layers}
    height = (_BAR_HEIGHT + 3) * max(1, len(values))
    return _spec(style, plot_width, height, {"left": left, "right": right, "top": 2, "bottom": 2}, plot)


def stacks(style: Style, rows: Sequence[tuple[str, Sequence[float]]], width: int) -> Spec:
    """For each subject a bar of 100 %, cut by the groups, in the colours of the legend."""
    palette, colours = style.branding.colours.series, style.branding.colours
    values = []
    for index, (_, shares) in enumerate(rows):
        start = 0.0
        for order, share in enumerate(shares):
            colour = palette[order % len(palette)]
            values.append(
                {
                    "row": index,
                    "start": start,
                    "end": start + share,
                    "middle": start + share / 2,
                    "colour": colour,
                    "ink": "#ffffff" if _is_dark(colour) else "#1c2430",
                    "text": percentage(style.words, share) if share >= _LEAST_NAMED else "",
                }
            )
            start += share
    left = _label_room(width)
    names = [{"row": index, "label": _cut(style, label, left)} for index, (label, _) in enumerate(rows)]
    row = {"field": "row", "type": "ordinal", "axis": None}
    x = {"type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}}
    layers: list[Spec] = [
        {
            "data": {"values": values},
            "mark": {"type": "bar", "height": 15, "stroke": "white", "strokeWidth": 1},
            "encoding": {
                "x": {**x, "field": "start"},
                "x2": {"field": "end"},
                "y": row,
                "color": {"field": "colour", "type": "nominal", "scale": None},
            },
        },
        {
            "data": {"values": values},
            **_text(
                {"align": "center"},
                {
                    "x": {**x, "field": "middle"},
                    "y": row,
                    "text": {"field": "text"},
                    "color": {"field": "ink", "type": "nominal", "scale": None},
                },
            ),
        },
        {
            "data": {"values": names},
            **_text(
                {"x": -_LABEL_GAP, "align": "right", "color": colours.text}, {"y": row, "text": {"field": "label"}}
            ),
        },
    ]
    height = (_BAR_HEIGHT + 5) * max(1, len(rows))
    return _spec(style, width - left - 6, height, {"left": left, "right": 6, "top": 2, "bottom": 2}, {"layer": layers})


def lines(style: Style, several: Sequence[Series], width: int, height: int) -> Spec:
    """Numbers in time: one line for each series, in the colours of the subjects."""
    palette, colours, words = style.branding.colours.series, style.branding.colours, style.words
    chart = several[0].chart
    monthly = chart.bucket is Bucket.MONTH
    points = [
        {"t": milliseconds(day), "value": value, "series": index, "colour": palette[index % len(palette)]}
        for index, series in enumerate(several)
        for day, value in in_time(series)
    ]
    dated = sorted({day for series in several for day, _ in in_time(series)})
    days = [milliseconds(day) for day in dated]
    share = chart.measure.aggregate is Aggregate.SHARE
    values = [0.0 if value is None else value for series in several for value in series.values]
    # Counts, and sums of whole numbers.
    steps = ticks_of(values, whole=all(isinstance(value, int) for value in values))
    character = _character_width(style)
    half = math.ceil(character * _DATE_CHARACTERS / 2)  # the first and the last label reach beyond the axis
    pattern = number_format(steps, share=share)
    # Python writes them as d3 does, but for the trimmed zeros and the words' separators, which are as long.
    numbers = [format(end, pattern.replace("~", "")) for end in (steps[0], steps[-1])]
    left, right = max(half, _room(style, numbers)), half
    plot_width = width - left - right
    ticks = [
        {"t": milliseconds(day), "label": label}
        for day, label in time_ticks(words, dated, monthly=monthly, room=lambda n: int(plot_width / (n * character)))
    ]
    x = {
        "field": "t",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [days[0], days[-1]] if days[0] < days[-1] else [days[0] - 1, days[0] + 1], "nice": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [steps[0], steps[-1]], "nice": False},
        "axis": {
            "title": None,
            "values": steps,
            "format": pattern,
            "labelOverlap": False,
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "gridColor": "#e3e6ea",
        },
    }
    color = {"field": "colour", "type": "nominal", "scale": None}
    encoding = {"x": x, "y": y, "color": color, "detail": {"field": "series"}}
    line: Spec = {"type": "line", "strokeWidth": 1.6, "interpolate": "linear", "strokeJoin": "round"}
    if len(points) <= _MOST_MARKED:
        line["point"] = {"size": 18, "filled": True}
    layers: list[Spec] = [{"data": {"values": points}, "mark": line, "encoding": encoding}]
    if len(several) == 1:
        area = {"type": "area", "opacity": 0.12, "color": colours.primary}
        layers.insert(0, {"data": {"values": points}, "mark": area, "encoding": {"x": x, "y": y}})
    layers.append(
        {
            "data": {"values": ticks},
            **_text(
                {"y": height + 13, "align": "center", "color": colours.muted}, {"x": x, "text": {"field": "label"}}
            ),
        }
    )
    padding = {"left": left, "right": right, "top": 8, "bottom": 20}
    return _spec(style, plot_width, height, padding, {"layer": layers})


def _spec(style: Style, width: int, height: int, padding: Spec | int, plot: Spec) -> Spec:
    font = style.branding.fonts.body
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": width,
        "height": height,
        "padding": padding,
        "autosize": {"type": "none"},
        "background": "transparent",
        "config": {
            "font": font,
            "view": {"stroke": None},
            "axis": {"labelFont": font, "labelFontSize": _TEXT_SIZE, "labelColor": style.branding.colours.muted},
        },
        **plot,
    }


def _text(mark: Spec, encoding: Spec) -> Spec:
    return {"mark": {"type": "text", "fontSize": _TEXT_SIZE, "baseline": "middle", **mark}, "encoding": encoding}


def _zero_line(style: Style, x: Spec, height: int) -> Spec:
    """A row's part of the line that marks 0."""
    mark = {"type": "tick", "orient": "vertical", "size": height, "color": style.branding.colours.muted}
    return {"mark": mark, "encoding": {"x": {**x, "datum": 0}}}


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150


def _label_room(width: int) -> int:
    return _WIDE_LABEL if width > _WIDE else _NARROW_LABEL


def _sides(style: Style, width: int, texts: Sequence[str]) -> tuple[int, int, int]:
    """The room for labels, that for the texts, and the width of the plot between them. Labels have less where the texts
    are long; where that is not enough the chart is wider than asked for, which makes it smaller on the page."""
    right = _room(style, texts)
    left = max(_LEAST_LABEL, min(_label_room(width), width - right - _LEAST_PLOT))
    return left, right, max(_LEAST_PLOT, width - left - right)


def _room(style: Style, texts: Sequence[str]) -> int:
    """What the longest of the texts needs beside a plot."""
    return math.ceil(max(map(len, texts), default=0) * _character_width(style)) + 14


def _character_width(style: Style) -> float:
    font = style.branding.fonts.body
    return _TEXT_SIZE * (_DEFAULT_WIDTH if font == Fonts().body else _OTHER_WIDTH)


def _bar_text(style: Style, measure: Any, group: Group) -> str:
    value = measured(style.words, measure, group.value, unit=False)
    return value if group.share is None else f"{value} · {percentage(style.words, group.share)}"


def _cut(style: Style, label: str, room: int) -> str:
    most = int((room - _LABEL_GAP) / _character_width(style))
    label = " ".join(label.split())
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"
