"""How a report writes numbers in each language."""

from __future__ import annotations

import math
from decimal import Decimal

from export_pipeline.formats._pdf_words import Words
from export_pipeline.formats._significance import ALPHA
from export_pipeline.model.report import Aggregate, Measure

#: Between a number and its unit: narrow enough, and never the end of a line.
_SPACE = "\u00a0"
_DASH, _MINUS = "–", "−"
#: From then on a number without decimals is written in full, up to what a double still tells exactly.
_LARGE, _LARGEST = 1e6, 1e15


def number(words: Words, value: float | Decimal, decimals: int = 0) -> str:
    """The number with so many decimals and separated thousands; a true minus."""
    # A whole number would be formatted as a double, which has 15 digits.
    text = f"{Decimal(value) if isinstance(value, int) else value:,.{decimals}f}"
    sign = _MINUS if text.startswith("-") and any(digit in text for digit in "123456789") else ""
    swapped = text.lstrip("-").translate({ord(","): words.group, ord("."): words.decimal})
    return sign + swapped


def floating(words: Words, value: float) -> str:
    """Up to six significant digits, as a table for reading needs no more, or a large number's whole part; a dash for
    what is no number."""
    if not math.isfinite(value):
        return _DASH
    text = f"{value:.6g}"
    if _LARGE <= abs(float(text)) < _LARGEST:
        return number(words, value)
    if "e" in text:
        return text.translate({ord("."): words.decimal, ord("-"): _MINUS})
    return number(words, value, len(text.partition(".")[2]))


def measured(words: Words, measure: Measure, value: float | None, *, unit: bool = True) -> str:
    """A figure's value: a share in per cent, others with their unit; a dash where nothing was counted."""
    if value is None:
        return _DASH
    if measure.aggregate is Aggregate.SHARE:
        return number(words, 100 * value, measure.decimals) + words.percent
    shown = number(words, value, measure.decimals)
    return f"{shown}{_SPACE}{measure.unit}" if unit and measure.unit else shown


def percentage(words: Words, share: float, decimals: int = 0) -> str:
    """A share, 0 to 1, in per cent."""
    return number(words, 100 * share, decimals) + words.percent


def p_text(words: Words, p: float) -> str:
    """A p-value; what is less than a thousandth is not told more exactly, what is near the level of significance so
    that it is seen on which side."""
    if p < 0.001:
        return f"p < {number(words, 0.001, 3)}"
    decimals = 3
    while round(p, decimals) == ALPHA != p:
        decimals += 1
    return f"p = {number(words, p, decimals)}"
