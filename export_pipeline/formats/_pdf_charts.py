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
from export_pipeline.formats._pdf_axes import in_time, milliseconds, ticks_of
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
_TEXT_SIZE = 8.5
#: A character's mean width (em) in the default font, and in a wide one, which any other may be.
_DEFAULT_WIDTH, _OTHER_WIDTH = 0.48, 0.64
#: Points of a line up to which each is marked.
_MOST_MARKED = 40
#: The longest label of an axis of time, such as 17. Nov 2010.
_DATE_CHARACTERS = 12
#: From then on a quarter of the axis is a whole number.
_WHOLE_AXIS = 4
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
    return {"decimal": words.decimal, "thousands": words.group, "grouping": [3], "currency": ["", ""]}


def groups(style: Style, series: Series, most: int = _MOST_BARS) -> list[Group]:
    """The series' groups, the last of them the sum of those that have no place where numbers add up."""
    adds_up = series.chart.measure.aggregate in (Aggregate.COUNT, Aggregate.SUM)
    labels = [style.words.none if label == NO_VALUE else label for label in series.labels]
    pairs = [pair for pair in zip(labels, series.values, strict=True) if pair[1] or not adds_up]
    total = sum(value or 0.0 for _, value in pairs) if adds_up else 0.0
    if len(pairs) > most:
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
        {"order": index, "value": max(0.0, group.value or 0.0), "colour": palette[index % len(palette)]}
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
    """Numbers by group, the largest first, each written at its bar."""
    measure = series.chart.measure
    values = [
        {
            "row": index,
            "label": _cut(style, group.label, width),
            "value": group.value or 0.0,
            "text": _bar_text(style, measure, group),
        }
        for index, group in enumerate(shown)
    ]
    height = _BAR_HEIGHT * max(1, len(values))
    left, right = _label_room(width), _room(style, [str(item["text"]) for item in values])
    row = {"field": "row", "type": "ordinal", "axis": None}
    x = {"field": "value", "type": "quantitative", "axis": None, "scale": {"domainMin": 0}}
    colours = style.branding.colours
    layers = [
        {
            "mark": {"type": "bar", "height": 10, "color": colours.primary, "cornerRadiusEnd": 1},
            "encoding": {"x": x},
        },
        _text({"dx": 5, "align": "left", "color": colours.text}, {"x": x, "text": {"field": "text"}}),
        _text(
            {"x": -6, "align": "right", "color": colours.text},
            {"text": {"field": "label"}},
        ),
    ]
    plot = {"data": {"values": values}, "encoding": {"y": row}, "layer": layers}
    return _spec(style, width - left - right, height, {"left": left, "right": right, "top": 2, "bottom": 2}, plot)


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
    values = [
        {
            "row": index,
            "label": _cut(style, item.label, width),
            "value": item.value,
            "low": item.bounds[0] if item.bounds else item.value,
            "high": item.bounds[1] if item.bounds else item.value,
            "text": item.text,
            "colour": palette[index % len(palette)],
        }
        for index, item in enumerate(shown)
    ]
    left, right = _label_room(width), _room(style, [item.text for item in shown])
    row = {"field": "row", "type": "ordinal", "axis": None}
    color = {"field": "colour", "type": "nominal", "scale": None}
    scale = {"zero": zero, "nice": False, "padding": 6}
    x = {"type": "quantitative", "axis": None, "scale": scale}
    plot_width = width - left - right
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
        _text({"x": -6, "align": "right", "color": colours.text}, {"text": {"field": "label"}}),
    ]
    if zero:
        mark = {"type": "tick", "orient": "vertical", "size": _BAR_HEIGHT + 3, "color": colours.muted}
        layers.insert(1, {"mark": mark, "encoding": {"x": {**x, "datum": 0}}})
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
    names = [{"row": index, "label": _cut(style, label, width)} for index, (label, _) in enumerate(rows)]
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
            **_text({"x": -6, "align": "right", "color": colours.text}, {"y": row, "text": {"field": "label"}}),
        },
    ]
    left = _label_room(width)
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
    counts = chart.measure.aggregate is Aggregate.COUNT
    steps = ticks_of([value or 0.0 for series in several for _, value in in_time(series)], counts=counts)
    whole = max(steps[-1], -steps[0]) >= _WHOLE_AXIS
    character = _character_width(style)
    half = math.ceil(character * _DATE_CHARACTERS / 2)  # the first and the last label reach beyond the axis
    numbers = [number(words, end, 0 if whole else 2) for end in (steps[0], steps[-1])]
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
            "format": ".0%" if share else (",.0f" if whole else ",.2f"),
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


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150


def _label_room(width: int) -> int:
    return _WIDE_LABEL if width > _WIDE else _NARROW_LABEL


def _room(style: Style, texts: Sequence[str]) -> int:
    """What the longest of the texts needs beside a plot."""
    return math.ceil(max(map(len, texts), default=0) * _character_width(style)) + 14


def _character_width(style: Style) -> float:
    font = style.branding.fonts.body
    return _TEXT_SIZE * (_DEFAULT_WIDTH if font == Fonts().body else _OTHER_WIDTH)


def _bar_text(style: Style, measure: Any, group: Group) -> str:
    value = measured(style.words, measure, group.value, unit=False)
    return value if group.share is None else f"{value} · {percentage(style.words, group.share)}"


def _cut(style: Style, label: str, width: int) -> str:
    most = int(_label_room(width) / _character_width(style))
    label = " ".join(label.split())
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"
