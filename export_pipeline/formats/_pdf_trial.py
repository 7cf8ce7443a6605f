"""What a comparison of variants or experiments is of: which rows stand beside each other.

Nothing is computed here: every number is a row's. How they look is in `_pdf_trial_tables.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export_pipeline.formats._figures import NO_VALUE
from export_pipeline.formats._pdf_comparison import FEWEST, MOST
from export_pipeline.model.errors import Rejected
from export_pipeline.model.trial import Trial

if TYPE_CHECKING:
    import polars as pl

#: Each metric is a table and a chart; who compares more of them wants the rows.
_MOST_METRICS = 20

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """A variant's row in one metric, and, where it stands for its experiment, the name of the control."""

    row: Row
    control: str = ""


@dataclass(frozen=True)
class Results:
    """What stands side by side: the subjects (variants or experiments), whether each is what the others are compared
    with, and for each metric the result of each subject. `checks`: a row of each experiment, by its name."""

    trial: Trial
    across: bool
    subjects: tuple[str, ...]
    references: tuple[bool, ...]
    metrics: Mapping[str, tuple[Result | None, ...]]
    checks: tuple[tuple[str, Row], ...]


def find_results(staged: Path, trial: Trial, by: str) -> Results:
    """The variants of one experiment, or each experiment's best variant and its control; `by` is the column that was
    asked for, empty where the rows decide. Raises Rejected where they cannot be compared, with what to do."""
    import polars as pl

    frame = pl.scan_ipc(staged)
    keyed = frame.select(trial.experiment_id, trial.experiment).unique(
        trial.experiment_id, keep="first", maintain_order=True
    )
    experiments = {_text(row, trial.experiment_id): _text(row, trial.experiment) for row in keyed.collect().to_dicts()}
    metrics = _distinct(frame, trial.metric)
    experiment_filter, metric_filter = trial.filters
    if not experiments:
        raise Rejected(f"there are no results to compare; choose an experiment that has some by {experiment_filter}")
    if len(metrics) > _MOST_METRICS:
        raise Rejected(
            f"a comparison holds {_MOST_METRICS} metrics at most, and the rows have {len(metrics):,}; choose some by "
            f"the filter {metric_filter}"
        )
    if len(experiments) == 1 and by not in (trial.experiment, trial.experiment_id):
        return _variants(frame, trial, metrics)
    if not FEWEST <= len(experiments) <= MOST:
        raise Rejected(
            f"a comparison needs {FEWEST} to {MOST} experiments, or one to compare its variants, and the rows have "
            f"{len(experiments):,}; choose by the filter {experiment_filter}, which takes several, separated by commas"
        )
    if by == trial.variant:
        raise Rejected(
            f"the rows are of {len(experiments)} experiments, whose variants have different controls; choose one by "
            f"the filter {experiment_filter}, or leave compare_by out to see each one's best variant"
        )
    return _experiments(frame, trial, experiments, metrics)


def _variants(frame: pl.LazyFrame, trial: Trial, metrics: list[str]) -> Results:
    count = len(_distinct(frame, trial.variant))
    if not FEWEST <= count <= MOST:
        raise Rejected(
            f"a comparison needs {FEWEST} to {MOST} variants, and the rows have {count:,}; choose others by a "
            f"condition (--where '{trial.variant} in …'), or ask for report=detailed_results, which has all of them"
        )
    rows = frame.unique([trial.metric, trial.variant], keep="first", maintain_order=True).collect().to_dicts()
    # The control stands first whatever order was asked for.
    rows.sort(key=lambda row: row[trial.is_control] is not True)
    found = {(_text(row, trial.metric), _text(row, trial.variant)): Result(row) for row in rows}
    controls = {variant: result.row[trial.is_control] is True for (_, variant), result in found.items()}
    return Results(
        trial,
        across=False,
        subjects=tuple(controls),
        references=tuple(controls.values()),
        metrics={metric: tuple(found.get((metric, name)) for name in controls) for metric in metrics},
        checks=((_text(rows[0], trial.experiment), _telling(rows, trial)),),
    )


def _experiments(frame: pl.LazyFrame, trial: Trial, experiments: dict[str, str], metrics: list[str]) -> Results:
    import polars as pl

    key, control = [trial.experiment_id, trial.metric], pl.col(trial.is_control)
    others = frame.filter(~control, pl.col(trial.value).is_not_null())
    best = others.sort([trial.value, trial.variant], descending=[True, False]).unique(
        key, keep="first", maintain_order=True
    )
    controls = {
        tuple(_text(row, name) for name in key): _text(row, trial.variant)
        for row in frame.filter(control).unique(key, keep="first").collect().to_dicts()
    }
    rows = {tuple(_text(row, name) for name in key): row for row in best.collect().to_dicts()}
    found = {key: Result(row, controls[key]) for key, row in rows.items() if key in controls}
    for experiment, name in experiments.items():
        if not any((experiment, metric) in found for metric in metrics):
            raise Rejected(
                f"the experiment {name} has no control with another variant in the same "
                f"metric; leave it out by the filter {trial.filters[0]}, or name it alone"
            )
    if all(sum((experiment, metric) in found for experiment in experiments) < FEWEST for metric in metrics):
        raise Rejected(
            f"the experiments have no metric in common; choose others by the filter {trial.filters[0]}, or compare the "
            "variants of one"
        )
    same = len(set(experiments.values())) < len(experiments)
    titles = [f"{name} ({experiment[:8]})" if same else name for experiment, name in experiments.items()]
    return Results(
        trial,
        across=True,
        subjects=tuple(titles),
        references=(False,) * len(titles),
        metrics={metric: tuple(found.get((each, metric)) for each in experiments) for metric in metrics},
        checks=tuple(
            (title, _telling([result.row for (each, _), result in found.items() if each == experiment], trial))
            for title, experiment in zip(titles, experiments, strict=True)
        ),
    )


def _telling(rows: Sequence[Row], trial: Trial) -> Row:
    """The row that tells most of an experiment's check: one where it failed, if there is any."""
    return min(rows, key=lambda row: (row[trial.check.failed] is not True, row[trial.check.p_value] is None))


def _distinct(frame: pl.LazyFrame, column: str) -> list[str]:
    """The column's values, in the order of their first row."""
    import polars as pl

    text = pl.col(column).cast(pl.String).fill_null(NO_VALUE)
    return frame.select(text).unique(maintain_order=True).collect().to_series().to_list()


def _text(row: Row, column: str) -> str:
    value = row[column]
    return NO_VALUE if value is None else str(value)
