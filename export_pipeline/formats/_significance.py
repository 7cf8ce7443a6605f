"""Whether rates and means of two groups differ by more than chance: textbook tests on summary statistics.

Nothing of rows or files here; what a report says of the results is in `_pdf_comparison.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: What counts as significant, and one minus the confidence of the intervals.
ALPHA = 0.05
#: Below this expected count in a cell, the normal approximation is given up for Fisher's exact test.
_LEAST_EXPECTED = 5.0
#: Fewer values in a group say nothing of its spread.
_LEAST_VALUES = 2
#: A deviation up to this share of the mean is what rounding made of equal values, which vary by nothing.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Rate:
    """So many successes among so many rows."""

    successes: int
    rows: int


@dataclass(frozen=True)
class Sample:
    """So many values, their mean and their standard deviation (with n - 1; None for fewer than two values)."""

    values: int
    mean: float | None
    deviation: float | None


def rate_interval(rate: Rate) -> tuple[float, float] | None:
    """Wilson's score interval of 95 %, as shares; None without rows."""
    if not rate.rows:
        return None
    z = _normal_quantile()
    share, n = rate.successes / rate.rows, rate.rows
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def mean_interval(sample: Sample) -> tuple[float, float] | None:
    """Student's interval of 95 % for the mean; None for fewer than two values, or one that is not finite."""
    from scipy import stats

    if sample.mean is None or sample.deviation is None or not _can_be_tested(sample):
        return None
    half = float(stats.t.ppf(1 - ALPHA / 2, sample.values - 1)) * sample.deviation / math.sqrt(sample.values)
    return sample.mean - half, sample.mean + half


def compare_rates(one: Rate, other: Rate) -> float | None:
    """The two-sided p-value that both rates are the same: a z-test with the pooled rate, or Fisher's exact test where
    an expected count is under 5. None where a group has no rows."""
    from scipy import stats

    if not one.rows or not other.rows:
        return None
    successes, rows = one.successes + other.successes, one.rows + other.rows
    expected = min(group.rows * total / rows for group in (one, other) for total in (successes, rows - successes))
    if expected < _LEAST_EXPECTED:
        table = [[group.successes, group.rows - group.successes] for group in (one, other)]
        return float(stats.fisher_exact(table).pvalue)
    pooled = successes / rows
    error = math.sqrt(pooled * (1 - pooled) * (1 / one.rows + 1 / other.rows))
    return float(2 * stats.norm.sf(abs(one.successes / one.rows - other.successes / other.rows) / error))


def compare_means(one: Sample, other: Sample) -> float | None:
    """The two-sided p-value of Welch's t-test. None where a group has fewer than two values, or one that is not finite,
    or neither varies."""
    from scipy import stats

    if not (_can_be_tested(one) and _can_be_tested(other)) or not (_varies(one) or _varies(other)):
        return None
    result = stats.ttest_ind_from_stats(
        one.mean, one.deviation, one.values, other.mean, other.deviation, other.values, equal_var=False
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values corrected for their number (Holm, 1979), in the same order; those that are None or NaN do not count,
    and are None."""
    found = sorted((p, index) for index, p in enumerate(p_values) if p is not None and not math.isnan(p))
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(found):
        highest = max(highest, min(1.0, p * (len(found) - rank)))
        corrected[index] = highest
    return corrected


def _can_be_tested(sample: Sample) -> bool:
    known = (sample.mean, sample.deviation)
    return sample.values >= _LEAST_VALUES and all(value is not None and math.isfinite(value) for value in known)


def _varies(sample: Sample) -> bool:
    return (sample.deviation or 0.0) > _ROUNDING * abs(sample.mean or 0.0)


def _normal_quantile() -> float:
    from scipy import stats

    return float(stats.norm.ppf(1 - ALPHA / 2))
