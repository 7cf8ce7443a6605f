"""JSON values whose structs can be compared with them: the one text of each value, made of the JSON on one side and of
what the file holds on the other, so that the two share nothing but what the value says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any

from export_pipeline.model.errors import Broken, Rejected

if TYPE_CHECKING:
    import polars as pl

#: DuckDB's name of JSON that stays text.
JSON_TEXT = "JSON"
#: Python makes no number of more digits, unless it is told to.
_MOST_DIGITS = 4_000

Restore = Callable[[Any], Any]


def compared(texts: pl.Series, shape: Any = None) -> pl.Series:
    """Each value's one text: without white space and keys that are null, the keys in order, 1 and 1.0 the same. With a
    shape, the texts are of structs, in which parts that stayed JSON are texts of their own. Raises Rejected where an
    object has a key twice, and Broken for what is no JSON."""
    import polars as pl

    try:
        restore = _restorer(shape)
        return pl.Series(texts.name, [_told(text, restore) for text in texts], pl.String)
    except _KeyTwiceError as error:
        raise Rejected(
            f"{texts.name} holds an object that has the key {error.args[0]!r} twice, and no struct holds both; take "
            "nested=text, or leave the column out"
        ) from None
    except ValueError as error:
        if shape is not None:
            raise Broken(f"{texts.name} holds a value that is no valid JSON") from error
        raise refusal(texts.name) from error


def refusal(name: str) -> Rejected:
    """What is said of a column with a text that is no JSON."""
    return Rejected(
        f"{name} holds a value that is no valid JSON; leave the column out, correct the value, or take nested=text"
    )


def parsed(text: str) -> Any:
    """The value of a JSON text. A number that Python cannot hold is its text; what lies too deep for it, all of it."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        return text


def fitting(shape: Any, text: str) -> Any:
    """The shape, with JSON text for floats by which a number of the JSON text would be another; all of it where a key
    has a NUL, at which Arrow would cut it."""
    try:
        # Numbers with a fraction as they are in the file, infinite ones too.
        return _fitting(shape, json.loads(text, parse_int=_whole))
    except (_NulError, RecursionError):
        return JSON_TEXT


def _fitting(shape: Any, value: Any) -> Any:
    if isinstance(shape, list) and isinstance(value, list):
        [part] = shape
        for item in value:
            part = _fitting(part, item)
        return [part]
    if isinstance(shape, dict) and isinstance(value, dict):
        if any("\0" in key for key in value):
            raise _NulError
        return shape | {key: _fitting(shape[key], item) for key, item in value.items() if key in shape}
    return JSON_TEXT if shape == "DOUBLE" and not _fits(value) else shape


def _fits(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63 and int(float(value)) == value
    return value is None or (isinstance(value, float) and isfinite(value))


class _NulError(Exception):
    """A key has a NUL."""


class _KeyTwiceError(Exception):
    """An object has this key twice."""


def _told(text: str | None, restore: Restore | None) -> str | None:
    if text is None:
        return None
    value = parsed(text)
    if restore is not None and value is not None:
        value = restore(value)
    return None if value is None else _ENCODER.encode(value)


def _restorer(shape: Any) -> Restore | None:
    """What makes of a struct's value, which it may change, what the struct was made of; None where that is the same."""
    if shape == JSON_TEXT:
        return parsed
    if isinstance(shape, list):
        item = _restorer(shape[0])
        return None if item is None else lambda values: [None if value is None else item(value) for value in values]
    if isinstance(shape, dict):
        parts = [(key, part) for key, inner in shape.items() if (part := _restorer(inner)) is not None]
        return partial(_restore_keys, parts) if parts else None
    return None


def _restore_keys(parts: Sequence[tuple[str, Restore]], value: dict[str, Any]) -> dict[str, Any]:
    for key, restore in parts:
        if key in value:
            value[key] = restore(value[key])
            if value[key] is None:
                del value[key]
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _KeyTwiceError(next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place])))
    return {key: value for key, value in pairs if value is not None} if None in found.values() else found


def _real(text: str) -> Any:
    number = float(text)
    if not isfinite(number):
        return text
    return int(number) if number.is_integer() else number


def _whole(text: str) -> Any:
    return int(text) if len(text) < _MOST_DIGITS else text


# Measured: made anew for each value, they take twice the time of their work.
_DECODER = json.JSONDecoder(parse_float=_real, parse_int=_whole, object_pairs_hook=_object)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
