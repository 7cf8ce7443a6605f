"""Text that a spreadsheet would run as a formula: found, made harmless, and made what it was."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# A text starts a formula where one of these comes first, after any apostrophes, white space and invisible characters.
# Tab, CR, LF and NUL start one by themselves. The full-width forms count: some spreadsheets fold them.
_TRIGGERS = r"=+\-@|%＝＋－＠｜％"

#: What gets an apostrophe in front. Text that is wholly a signed number (a phone in E.164, -12.5) does not match: the
#: first branch lists how a text that begins with a sign can fail to be one, as these expressions know no look-ahead.
#: The rule is reversible: take one apostrophe off whatever begins with one and would match without it.
FORMULA = (
    r"^(?:"
    r"[+-](?:\z|[0-9]*[^0-9.]|\.|[0-9]+\.(?:\z|[0-9]*[^0-9]))"
    r"|[=@|%＝＋－＠｜％\t\r\n\x00]"
    rf"|['\s\p{{Cf}}]+[{_TRIGGERS}\t\r\n\x00]"
    r")"
)

#: Where a spreadsheet of another region, or one that was told so, splits a line, whatever is in quotes: a quotation
#: mark counts only where a field begins, and there its fields begin elsewhere.
_SPLITS = ",;\t\r\n"


@cache
def _inner(separator: str, mark: str = "") -> str:
    """What gets an apostrophe (or has it: `mark`) within a text, in a file with this delimiter: what may begin a cell,
    and then be run. What splits lines at the file's own delimiter knows the quotes. A signed number stays as it is
    before the next split and at the end of a JSON array or object; at the text's end the next field may go on with it.
    """
    splits = _SPLITS.replace(separator, "")
    after = rf"{splits}\]}}"
    number = rf"\z|[^0-9{after}]|[0-9]+(?:\z|[^0-9.{after}])|[0-9]+\.[0-9]*(?:\z|[^0-9{after}])"
    return rf"([{splits}]){mark}(['\x22\x00\s\p{{Cf}}&&[^{splits}]]*(?:[=@|%＝＋－＠｜％]|[+-](?:{number})))"


def defused(values: pl.Series, separator: str) -> pl.Series:
    """The texts with one apostrophe in front where a spreadsheet would run them as a formula, and one where it would
    run what comes after a place where it may split the file, whose delimiter is `separator`."""
    pattern = _inner(separator)
    # Measured: to look first takes a third of the time where there is nothing, as mostly.
    if values.str.contains(pattern).any():
        values = values.str.replace_all(pattern, "${1}'${2}")
    begins = values.str.contains(FORMULA)
    return ("'" + values).zip_with(begins, values) if begins.any() else values


def restored(values: pl.Series, separator: str) -> pl.Series:
    """The texts as they were before `defused`."""
    pattern = _inner(separator, mark="'")
    if values.str.contains(pattern).any():
        values = values.str.replace_all(pattern, "${1}${2}")
    quoted = values.str.starts_with("'")
    if not quoted.any():
        return values
    bare = values.str.slice(1)
    return bare.zip_with(quoted & bare.str.contains(FORMULA), values)
