"""Half of a surrogate pair in JSON (`"\\ud800"`): PostgreSQL's `json` holds it, though it is no character, and most
readers of JSON refuse the whole document for it. Found, and refused where JSON is more than a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from export_pipeline.formats._sink import refusing

if TYPE_CHECKING:
    import polars as pl

#: The beginning of an escaped surrogate.
_SURROGATE = r"\\u[dD][89a-fA-F]"
#: Whole pairs, and other escapes: the second backslash of two begins none.
_NO_HALF = r"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"


def halves(texts: pl.Series) -> pl.Series:
    """Whether each JSON text holds half of a pair."""
    found = texts.str.contains(_SURROGATE)
    # Surrogates are rare, and the exact look at them is slow.
    return found & texts.str.replace_all(_NO_HALF, "").str.contains(_SURROGATE) if found.any() else found


def refuse_halves(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """The frame, which raises Rejected at a JSON text, in the columns of these names, that holds half of a pair."""
    import polars as pl

    def refusal(row: int, name: str) -> str:
        return (
            f"row {row:,}: {name} holds half of a surrogate pair, such as \\ud800, which is no character; correct the "
            "value, leave the column out, or choose a format that keeps JSON as text, such as CSV"
        )

    findings = {name: pl.col(name).map_batches(halves, pl.Boolean) for name in names}
    return refusing(frame, findings, refusal) if findings else frame
