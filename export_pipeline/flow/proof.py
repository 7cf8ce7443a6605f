"""What rows add up to, computed while they pass: once from the source, once from the finished file.

The fingerprint is the sum of a hash of each row, 64 bits wide in two halves: a sum, since with XOR a row that is there
twice would vanish. The hash is Polars' own, which may change with its version; a certificate names the version, and
`comparable` tells whether this one computes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isclose, isfinite
from typing import TYPE_CHECKING, Any

from export_pipeline.model.dataset import Column, Kind
from export_pipeline.model.errors import Broken
from export_pipeline.model.verification import Certificate, Verify

if TYPE_CHECKING:
    import polars as pl

#: How many of the first rows have a fingerprint of their own, which a sample is compared with.
HEAD_ROWS = 1_000
_HALF = 32
#: Of numbers with so many digits, a batch's sum always has room in 128 bits; longer ones are summed in two parts.
_ROOMY_DIGITS = 28
_SPLIT = 10**18
#: Floats are summed in another order on each side.
_FLOAT_TOLERANCE = 1e-9


class Proof:
    """Adds up batches of rows, in the order of the file; for a sample, their number and the first of them. `hold`
    makes of a batch what the file's format holds of it."""

    def __init__(
        self, columns: tuple[Column, ...], extent: Verify, hold: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    ) -> None:
        self._columns = columns
        self._whole = extent is Verify.FULL
        self._hold = hold or (lambda batch: batch)
        self._rows = 0
        self._nulls = dict.fromkeys((column.name for column in columns), 0)
        self._sums: dict[str, Any] = {column.name: 0 for column in columns if column.type.kind in _SUMMED}
        self._fingerprint = self._head = 0

    def add(self, batch: pl.DataFrame) -> None:
        """Adds the batch's rows."""
        before, self._rows = self._rows, self._rows + batch.height
        room = max(HEAD_ROWS - before, 0)
        if not self._whole:
            batch = batch.head(room)
        if not batch.height:
            return
        batch = self._hold(batch)
        hashes = batch.hash_rows(0)
        self._head += _total(hashes.head(room))
        if not self._whole:
            return
        self._fingerprint += _total(hashes)
        for column in self._columns:
            values = batch[column.name]
            self._nulls[column.name] += values.null_count()
            if column.name in self._sums:
                self._sums[column.name] += _sum(values, column)

    def certificate(self) -> Certificate:
        """What has been added so far."""
        return Certificate(
            algorithm=algorithm(),
            rows=self._rows,
            nulls=dict(self._nulls) if self._whole else {},
            sums={name: repr(value) for name, value in self._sums.items()} if self._whole else {},
            fingerprint=f"{self._fingerprint:x}" if self._whole else "",
            head_rows=min(self._rows, HEAD_ROWS),
            head_fingerprint=f"{self._head:x}",
        )


def algorithm() -> str:
    """What fingerprints are computed by: a hash of known values tells versions apart that compute differently."""
    import polars as pl

    probe = pl.DataFrame({"text": ["export_pipeline", None], "number": [1, 2], "decimal": [1.5, None]})
    return f"sum-of-row-hashes/1 polars-{_total(probe.hash_rows(0)):x}"


def compare(expected: Certificate, found: Certificate, *, extent: Verify) -> bool:
    """Raises Broken, naming what differs, unless the file's rows are those that were read. With a sample, `found` has
    the file's number of rows and the fingerprint of its first. Returns whether there were fingerprints to compare."""
    if found.rows != expected.rows:
        raise Broken(f"{expected.rows:,} rows were read from the source and the file has {found.rows:,}")
    comparable = found.algorithm == expected.algorithm
    if extent is Verify.SAMPLE:
        if expected.head_rows != min(expected.rows, HEAD_ROWS):
            raise Broken(f"the certificate is of the first {expected.head_rows:,} of {expected.rows:,} rows")
        if comparable and found.head_fingerprint != expected.head_fingerprint:
            raise Broken(f"the file's first {expected.head_rows:,} rows are not those that were read from the source")
        return comparable
    if expected.nulls.keys() != found.nulls.keys() or expected.sums.keys() != found.sums.keys():
        raise Broken("the certificate does not tell the nulls of all the file's columns and the sums of its numbers")
    same = comparable and found.fingerprint == expected.fingerprint
    for name, nulls in expected.nulls.items():
        if found.nulls[name] != nulls:
            raise Broken(f"{name} was null in {nulls:,} rows and is in {found.nulls[name]:,} of the file")
    for name, total in expected.sums.items():
        # Floats are added up in another order: where the fingerprint is the same, they need not be compared.
        is_float = _is_float(found.sums[name])
        if found.sums[name] != total and not (is_float and (same or _close(total, found.sums[name]))):
            raise Broken(f"{name} added up to {total} and adds up to {found.sums[name]} in the file")
    if comparable and not same:
        raise Broken("the file's rows are as many as were read from the source, but not the same")
    return comparable


def _total(hashes: pl.Series) -> int:
    """The sum of numbers of 64 bits, which has more."""
    low = int((hashes & (2**_HALF - 1)).sum())
    return low + (int((hashes // 2**_HALF).sum()) << _HALF)


def _sum(values: pl.Series, column: Column) -> Any:
    import polars as pl

    if values.dtype == pl.String:
        return 0  # a cell of a spreadsheet: the fingerprint has to do
    if values.dtype == pl.Float64:
        finite = values.filter(values.is_finite())
        return float(finite.sum())
    # Decimals are summed without their point.
    whole = values.to_physical().cast(pl.Int128)
    if column.type.precision <= _ROOMY_DIGITS:
        return int(whole.sum())
    split = pl.lit(_SPLIT, dtype=pl.Int128)
    parts = whole.to_frame("n").select(high=(pl.col("n") // split).sum(), low=(pl.col("n") % split).sum())
    return int(parts["high"][0]) * _SPLIT + int(parts["low"][0])


def _is_float(total: str) -> bool:
    """Whether the sum is of floats: those of whole numbers and decimals, which are summed without their point, are of
    digits alone."""
    return not total.removeprefix("-").isdecimal()


def _close(one: str, other: str) -> bool:
    first, second = float(one), float(other)
    # A sum past what a float holds says nothing: in another order it may be none.
    return not (isfinite(first) and isfinite(second)) or isclose(first, second, rel_tol=_FLOAT_TOLERANCE)


_SUMMED = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})
