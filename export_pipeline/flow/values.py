"""From a text that somebody gave to the value that it stands for, by the declared type; or one clear refusal."""

import csv
import io
import math
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation

from export_pipeline.flow.dates import parse_moment, plain_date
from export_pipeline.model.dataset import Kind, Type
from export_pipeline.model.errors import Rejected

#: The most values that one filter takes.
MOST_VALUES = 1000
#: The most digits of a number that is asked for, before and after the point.
_MOST_DIGITS = 1000


def parse_list(text: str, name: str) -> list[str]:
    """The values of a list: between commas, one that holds a comma or a quote in double quotes, as in CSV. Raises
    Rejected."""
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True))
    except csv.Error:
        lines = []
    values = list(dict.fromkeys(value for line in lines for value in line))
    if len(lines) != 1 or not all(values):
        raise Rejected(
            f'{name}={text!r} is not a list of values: put commas between them, and one that holds a comma in "quotes"'
        )
    if len(values) > MOST_VALUES:
        raise Rejected(f"{name} has {len(values):,} values, and can have {MOST_VALUES:,}; ask for fewer at a time")
    return values


def parse_value(kind: Type, text: str, name: str) -> object:
    """The value that the text stands for. Raises Rejected."""
    try:
        return _PARSERS[kind.kind](text)
    except (ValueError, InvalidOperation, Rejected):
        raise Rejected(f"{name}={text!r} is not {EXPECTED[kind.kind]}") from None


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    # A longer one is an error in PostgreSQL.
    if not value.is_finite() or abs(value.adjusted()) > _MOST_DIGITS or len(value.as_tuple().digits) > _MOST_DIGITS:
        raise ValueError(text)
    return value


def _integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def _text(text: str) -> str:
    # What is no Unicode, such as half of a surrogate pair, is a ValueError, too.
    if b"\0" in text.encode():
        raise ValueError(text)
    return text


def _moment(text: str) -> datetime:
    moment, _ = parse_moment({"moment": text}, "moment")
    if moment is None:
        raise ValueError(text)
    return moment


_PARSERS: Mapping[Kind, Callable[[str], object]] = {
    Kind.TEXT: _text,
    Kind.UUID: uuid.UUID,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: plain_date,
    Kind.TIMESTAMP: _moment,
    Kind.JSON: _text,
}

#: What the text of a value has to be, by its kind.
EXPECTED: Mapping[Kind, str] = {
    Kind.TEXT: "a text of Unicode without NUL",
    Kind.UUID: "a UUID such as 6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",
    Kind.INTEGER: "a whole number of 64 bits",
    Kind.DECIMAL: "a decimal number",
    Kind.FLOAT: "a finite number",
    Kind.BOOLEAN: "true or false",
    Kind.DATE: "a date such as 2010-11-17",
    Kind.TIMESTAMP: "a date or a timestamp such as 2010-11-17T14:00:00Z (UTC if no zone is given)",
    Kind.JSON: "a text of Unicode without NUL",
}
