"""What the policies do to values, batch by batch, before anything is written, added up or staged. Nulls stay nulls.

A keyed hash is BLAKE2b with a key (RFC 7693), of 128 bits, and the key is derived for the recipient: the same value is
the same in every column and export with the same key and recipient, and in no other. (HMAC-SHA256 takes three times
as long.)
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from export_pipeline.flow.redact import redact, redact_json, redact_numbers
from export_pipeline.model.access import Policy
from export_pipeline.model.dataset import Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.masking import Mask

if TYPE_CHECKING:
    import polars as pl

_HASH_BYTES = 16
_EMAIL = r"^\s*([^\s@])[^\s@]*(@[^\s@]+)\s*$"
_PHONE = r"^\s*(\+?)\(?(\d)[\d\s().\-/]*$"
#: From so many digits on, a masked number shows its last four; shorter ones only two.
_LONG_NUMBER = 10


def derive_key(key: str, recipient: str) -> bytes:
    """The key for one recipient (empty: for nobody in particular), from one of EXPORT_HASH_KEYS."""
    return hmac.digest(key.encode(), b"export_pipeline hash 1\0" + recipient.encode(), "sha256")


def masked(frame: pl.DataFrame, masks: Sequence[Mask]) -> pl.DataFrame:
    """The rows as they may leave: with the columns in their places, of the types that `Mask.delivered` tells."""
    return frame.with_columns([mask_values(frame[mask.column.name], mask) for mask in masks])


def mask_values(values: pl.Series, mask: Mask) -> pl.Series:
    """A column's values by its policy. Raises Broken where it has none for the column."""
    kind = mask.column.type.kind
    match mask.policy:
        case Policy.REDACT:
            return _redacted(values, kind)
        case Policy.MONTH:
            return values.dt.date().dt.month_start() if kind is Kind.TIMESTAMP else values.dt.month_start()
        case Policy.TRUNCATE:
            values = _redacted(values, kind) if mask.column.free_text else values
            return values.str.head(mask.length) if kind is Kind.TEXT else _rounded_down(values, mask.length)
        case Policy.MASK:
            return _shown_in_part(values)
        case Policy.HASH:
            return _hashed(values, mask.key)
    raise Broken(f"{mask.column.name} was to be left out and was read; this is a defect, please report it")


def _redacted(values: pl.Series, kind: Kind) -> pl.Series:
    """Of true and false there is nothing to redact."""
    if kind is Kind.BOOLEAN:
        return values
    change = {Kind.TEXT: redact, Kind.JSON: redact_json}.get(kind, redact_numbers)
    return change(values)


def _shown_in_part(values: pl.Series) -> pl.Series:
    """Addresses keep their first character and what follows the at sign, numbers of phones their first digit and the
    last four (two, if short), all else its first character, unless that is all."""
    import polars as pl

    value = pl.col(values.name)
    digits = value.str.replace_all(r"\D", "")
    last = pl.when(digits.str.len_chars() < _LONG_NUMBER).then(digits.str.tail(2)).otherwise(digits.str.tail(4))
    return values.to_frame().select(
        pl.when(value.str.contains(_EMAIL))
        .then(value.str.replace(_EMAIL, "${1}***${2}"))
        .when(value.str.contains(_PHONE) & (digits.str.len_chars() >= 7))
        .then(value.str.replace(_PHONE, "${1}${2}******") + last)
        .when(value.str.len_chars() > 1)
        .then(value.str.head(1) + "***")
        .when(value != "")
        .then(pl.lit("***"))
        .otherwise(value)
    )[values.name]


def _rounded_down(numbers: pl.Series, length: int) -> pl.Series:
    """Numbers with zeros in the place of all but their first digits."""
    import polars as pl

    first = rf"^(-?[0.]*(?:[0-9]\.?){{0,{length}}}).*$"
    text = numbers.cast(pl.String)
    shown = text.str.extract(first, 1)
    rest = text.str.strip_prefix(shown).str.replace_all("[0-9]", "0")
    return (shown + rest).cast(numbers.dtype).alias(numbers.name)


def _hashed(values: pl.Series, key: bytes) -> pl.Series:
    """Each different value of a batch is hashed once. E-mail addresses are the same in any letter case."""
    import polars as pl

    given = values.cast(pl.String)
    address = given.str.contains("@", literal=True)
    text = pl.select(pl.when(address).then(given.str.to_lowercase()).otherwise(given)).to_series()
    different = text.unique().drop_nulls()
    hashes = list(_hashes(different, key))
    if not hashes:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    return text.replace_strict(different, hashes, return_dtype=pl.String).alias(values.name)


def _hashes(values: Iterable[str], key: bytes) -> Iterator[str]:
    begun = hashlib.blake2b(key=key, digest_size=_HASH_BYTES)
    for value in values:
        hashing = begun.copy()
        hashing.update(value.encode())
        yield hashing.hexdigest()
