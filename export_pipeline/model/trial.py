"""What rows that are experiments' results say: which columns hold the experiment, its metric, the variant and its
numbers, so that variants, or experiments, can be set side by side as the rows have them.

Declared in the dataset's file (`Report.trial`). Nothing is computed from them: they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Scale(StrEnum):
    """How a statistic is shown: as it is, times 100 in per cent, or times 100 in percentage points."""

    PLAIN = "plain"
    PERCENT = "percent"
    POINTS = "points"


@dataclass(frozen=True)
class Statistic:
    """A column with a number of each row, what people call it, and how it is shown. `interval`: the columns where its
    interval of 95 % begins and ends. `p_value`: for a difference from the control, the column that tells how likely so
    large a one is by chance."""

    title: str
    column: str
    scale: Scale = Scale.PLAIN
    decimals: int = 0
    interval: tuple[str, str] | None = None
    p_value: str = ""


@dataclass(frozen=True)
class Check:
    """Whether an experiment's numbers can be trusted: the column that is true where they cannot, that with the p-value,
    and what is said in either case."""

    failed: str
    p_value: str
    passes: str
    fails: str


@dataclass(frozen=True)
class Trial:
    """The columns of rows of which each is one variant of one experiment in one metric.

    `value` (a rate or mean) is what variants are charted by, and by which the best of them is found; `difference` is
    what experiments are charted by. Both are among the `statistics`. `method` says how the statistics were made.
    `filters`: the dataset's filters that choose experiments and metrics."""

    experiment_id: str
    experiment: str
    metric: str
    variant: str
    is_control: str
    value: str
    difference: str
    statistics: tuple[Statistic, ...]
    check: Check
    method: str
    filters: tuple[str, str]

    def within(self, names: Mapping[str, str]) -> "Trial | None":
        """The same by the names that a file has for the dataset's columns, without the statistics of which a column
        is not in the file; None where one of the other columns is not."""
        check, known = self.check, names.keys()
        needed = {self.experiment_id, self.experiment, self.metric, self.variant, self.is_control, check.failed}
        statistics = tuple(
            replace(
                item,
                column=names[item.column],
                interval=(names[item.interval[0]], names[item.interval[1]]) if item.interval else None,
                p_value=names.get(item.p_value, ""),
            )
            for item in self.statistics
            if {item.column, *(item.interval or ()), *filter(None, [item.p_value])} <= known
        )
        if not needed | {check.p_value, self.value, self.difference} <= known:
            return None
        return replace(
            self,
            statistics=statistics,
            check=replace(check, failed=names[check.failed], p_value=names[check.p_value]),
            experiment_id=names[self.experiment_id],
            experiment=names[self.experiment],
            metric=names[self.metric],
            variant=names[self.variant],
            is_control=names[self.is_control],
            value=names[self.value],
            difference=names[self.difference],
        )
