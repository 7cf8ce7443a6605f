"""`experiment_results`: every variant of an experiment against the control, for each metric.

What has a closed form is computed in SQL. The probabilities need the normal and the chi-square distribution, which
PostgreSQL does not have: they are derived row by row from the statistics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from export_pipeline.model.access import Role, Scope
from export_pipeline.model.dataset import BOOLEAN, FLOAT, INTEGER, TEXT, UUID, Column, Dataset, Filter, Owner
from export_pipeline.model.report import Aggregate, Chart, ChartKind, Measure, Report
from export_pipeline.model.trial import Check, Scale, Statistic, Trial

if TYPE_CHECKING:
    import polars as pl

#: Below this probability the split of the users is not what the weights say.
_MISMATCH_BELOW = 0.01
#: The normal distribution's 97.5 % point, for intervals of 95 %.
_Z = 1.959963984540054
_RATE = Measure("Conversion rate", Aggregate.MEAN, "conversion_rate", decimals=4)
_TRIAL = Trial(
    experiment_id="experiment_id",
    experiment="experiment",
    metric="metric",
    variant="variant",
    is_control="is_control",
    value="conversion_rate",
    difference="difference",
    statistics=(
        Statistic("Users", "users"),
        Statistic("Users by the weights", "expected_users", decimals=1),
        Statistic("Conversions", "conversions"),
        Statistic("Conversion rate", "conversion_rate", Scale.PERCENT, 2, ("rate_low", "rate_high")),
        Statistic(
            "Difference of rates", "difference", Scale.POINTS, 2, ("difference_low", "difference_high"), "p_value"
        ),
        Statistic("Lift of the rate", "lift", Scale.PERCENT, 1),
        Statistic("Mean", "mean", decimals=4),
        Statistic("Difference of means", "mean_difference", decimals=4, p_value="mean_p_value"),
        Statistic("Lift of the mean", "mean_lift", Scale.PERCENT, 1),
    ),
    check=Check(
        "sample_ratio_mismatch",
        "srm_p_value",
        passes="Sample ratio: the numbers of users fit the weights.",
        fails="Sample ratio mismatch: the numbers of users do not fit the weights. The differences should not be "
        "trusted, and are not marked.",
    ),
    method="Compared with the control. 95% intervals: of rates by Wilson, of differences normal and unpooled. "
    "Two-sided p-values: of rates with the pooled rate, of means unpooled; not corrected for the number of "
    "comparisons. ▲ higher and ▼ lower mark p < 0.05.",
    filters=("experiment_id", "metric"),
)


def _rate_end(sign: str) -> str:
    """Where Wilson's interval of the rate begins or ends."""
    half = f"{_Z} * sqrt(conversion_rate * (1 - conversion_rate) / users + {_Z**2} / (4 * users ^ 2))"
    end = f"(conversion_rate + {_Z**2} / (2 * users) {sign} {half}) / (1 + {_Z**2} / users)"
    # At rates of 0 and 1 an end is that rate, and rounding must not take it beyond.
    return f"greatest(0, least(1, {end}))::float8"


def _compared(name: str) -> str:
    """Of the control, no comparison with itself."""
    return f"CASE WHEN NOT result.is_control THEN result.{name} END"


def derive(rows: pl.DataFrame) -> pl.DataFrame:
    """Fills in the probabilities: two-sided for differences, the chi-square's upper tail for the split of the users."""
    import polars as pl
    from scipy.special import chdtrc, ndtr

    def values(name: str) -> Any:
        return rows[name].cast(pl.Float64).to_numpy()

    def known(name: str, numbers: Any) -> pl.Series:
        # What followed from no value is no value.
        return pl.Series(name, numbers, dtype=pl.Float64).fill_nan(None)

    split = known("srm_p_value", chdtrc(values("variants") - 1, values("srm_chi_square")))
    return rows.with_columns(
        known("p_value", 2 * ndtr(-abs(values("z_score")))),
        known("mean_p_value", 2 * ndtr(-abs(values("mean_z_score")))),
        split,
        (split < _MISMATCH_BELOW).alias("sample_ratio_mismatch"),
    )


_COMPARED = f"""
    SELECT
        measured.*,
        {_rate_end("-")} AS rate_low,
        {_rate_end("+")} AS rate_high,
        conversion_rate - control_rate AS difference,
        conversion_rate - control_rate - {_Z} * rate_error AS difference_low,
        conversion_rate - control_rate + {_Z} * rate_error AS difference_high,
        (conversion_rate - control_rate) / nullif(control_rate, 0) AS lift,
        (conversion_rate - control_rate)
            / nullif(sqrt(pooled * (1 - pooled) * (1.0 / users + 1.0 / control_users)), 0) AS z_score,
        mean - control_mean AS mean_difference,
        (mean - control_mean) / nullif(abs(control_mean), 0) AS mean_lift,
        (mean - control_mean) / nullif(sqrt(mean_standard_error ^ 2 + control_mean_error ^ 2), 0) AS mean_z_score
    FROM (
        SELECT
            with_control.*,
            CASE WHEN is_control THEN NULL ELSE sqrt(rate_standard_error ^ 2 + control_rate_error ^ 2) END
                AS rate_error,
            (conversions + control_conversions)::float8 / (users + control_users) AS pooled
        FROM with_control
    ) AS measured
"""

DATASET = Dataset(
    name="experiment_results",
    title="Experiment results",
    description=(
        "One row per experiment, metric and variant. A user has converted where the sum of the metric's values is "
        "above zero; the mean is over all users of the variant, zero for those without a value. Intervals of 95 % are "
        "Wilson's for rates. Differences are to the control: intervals of 95 % (normal, unpooled), two-sided p-values "
        "(pooled for rates, unpooled for means). sample_ratio_mismatch tells that the variants' numbers of users do "
        f"not fit their weights (chi-square, p < {_MISMATCH_BELOW}): then the other numbers should not be trusted. "
        "Dates choose users by when they were assigned."
    ),
    source=f"""(
        WITH per_user AS (
            SELECT
                experiment.id AS experiment_id,
                experiment.name AS experiment,
                named.metric,
                assignment.variant_id,
                coalesce(found.total, 0) AS total,
                {{owned}} AS owned
            FROM experiments AS experiment
            JOIN assignments AS assignment ON assignment.experiment_id = experiment.id
            JOIN (
                SELECT DISTINCT other.experiment_id, value.metric
                FROM assignments AS other JOIN metrics AS value ON value.assignment_id = other.id
            ) AS named ON named.experiment_id = experiment.id
            LEFT JOIN LATERAL (
                SELECT sum(value.value) AS total
                FROM metrics AS value
                WHERE value.assignment_id = assignment.id AND value.metric = named.metric
            ) AS found ON true
            WHERE {{where}}
        ),
        per_variant AS (
            SELECT
                experiment_id, experiment, metric, variant_id,
                bool_and(owned) AS owned,
                count(*) AS users,
                count(*) FILTER (WHERE total > 0) AS conversions,
                count(*) FILTER (WHERE total > 0)::float8 / count(*) AS conversion_rate,
                avg(total) AS mean,
                -- Equal values vary by nothing; floats would make dust of it, which differs significantly from dust.
                CASE
                    WHEN count(*) > 1 AND min(total) = max(total) THEN 0
                    ELSE stddev_samp(total) / sqrt(count(*))
                END AS mean_standard_error
            FROM per_user
            GROUP BY 1, 2, 3, 4
        ),
        planned AS (
            SELECT
                variant.*,
                weight / sum(weight) OVER (PARTITION BY experiment_id) AS share,
                count(*) OVER (PARTITION BY experiment_id) AS variants
            FROM variants AS variant
        ),
        with_control AS (
            SELECT
                per_variant.*,
                planned.name AS variant,
                planned.is_control,
                planned.variants,
                sqrt(conversion_rate * (1 - conversion_rate) / users) AS rate_standard_error,
                sum(users) OVER everybody * planned.share AS expected_users,
                -- Squares over expected numbers, less the total: variants that nobody got count as they should.
                sum(users ^ 2 / planned.share) OVER everybody / sum(users) OVER everybody
                    - sum(users) OVER everybody AS srm_chi_square,
                max(users) FILTER (WHERE is_control) OVER everybody AS control_users,
                max(conversions) FILTER (WHERE is_control) OVER everybody AS control_conversions,
                max(conversion_rate) FILTER (WHERE is_control) OVER everybody AS control_rate,
                max(sqrt(conversion_rate * (1 - conversion_rate) / users)) FILTER (WHERE is_control)
                    OVER everybody AS control_rate_error,
                max(mean) FILTER (WHERE is_control) OVER everybody AS control_mean,
                max(mean_standard_error) FILTER (WHERE is_control) OVER everybody AS control_mean_error
            FROM per_variant JOIN planned ON planned.id = per_variant.variant_id
            WINDOW everybody AS (PARTITION BY per_variant.experiment_id, per_variant.metric)
        )
        {_COMPARED}
    ) AS result""",
    order_by="result.experiment, result.experiment_id, result.metric, NOT result.is_control, result.variant",
    columns=(
        Column("experiment_id", UUID, "result.experiment_id", "The experiment."),
        Column("experiment", TEXT, "result.experiment", "Its name.", example="Gate at level 30 or 40"),
        Column("metric", TEXT, "result.metric", "What was measured.", example="retention_1d"),
        Column("variant", TEXT, "result.variant", "The variant.", example="gate_40"),
        Column("is_control", BOOLEAN, "result.is_control", "Whether the others are compared with it."),
        Column("users", INTEGER, "result.users", "How many users got it.", example="45489", number_format="#,##0"),
        Column(
            "conversions",
            INTEGER,
            "result.conversions",
            "How many of them converted.",
            example="20119",
            number_format="#,##0",
        ),
        Column(
            "conversion_rate",
            FLOAT,
            "result.conversion_rate",
            "The share of them, 0 to 1.",
            example="0.4423",
            number_format="0.0000",
        ),
        Column(
            "rate_standard_error",
            FLOAT,
            "result.rate_standard_error",
            "The rate's standard error.",
            number_format="0.0000",
        ),
        Column("rate_low", FLOAT, "result.rate_low", "Where the rate's 95 % interval begins.", number_format="0.0000"),
        Column("rate_high", FLOAT, "result.rate_high", "Where it ends.", number_format="0.0000"),
        Column("difference", FLOAT, _compared("difference"), "Rate less the control's.", number_format="0.0000"),
        Column(
            "difference_low",
            FLOAT,
            "result.difference_low",
            "Where the difference's 95 % interval begins.",
            number_format="0.0000",
        ),
        Column("difference_high", FLOAT, "result.difference_high", "Where it ends.", number_format="0.0000"),
        Column(
            "lift", FLOAT, _compared("lift"), "The difference as a share of the control's rate.", number_format="0.0%"
        ),
        Column(
            "z_score", FLOAT, _compared("z_score"), "The difference in pooled standard errors.", number_format="0.00"
        ),
        Column(
            "p_value",
            FLOAT,
            "NULL::float8",
            "How likely so large a difference is by chance.",
            example="0.0744",
            number_format="0.0000",
        ),
        Column("mean", FLOAT, "result.mean", "The metric's mean over the users.", number_format="#,##0.0000"),
        Column(
            "mean_standard_error",
            FLOAT,
            "result.mean_standard_error",
            "The mean's standard error.",
            number_format="#,##0.0000",
        ),
        Column(
            "mean_difference",
            FLOAT,
            _compared("mean_difference"),
            "Mean less the control's.",
            number_format="#,##0.0000",
        ),
        Column(
            "mean_lift", FLOAT, _compared("mean_lift"), "That as a share of the control's mean.", number_format="0.0%"
        ),
        Column("mean_z_score", FLOAT, _compared("mean_z_score"), "That in standard errors.", number_format="0.00"),
        Column(
            "mean_p_value",
            FLOAT,
            "NULL::float8",
            "How likely so large a difference of means is by chance.",
            number_format="0.0000",
        ),
        Column("variants", INTEGER, "result.variants", "How many variants the experiment has."),
        Column(
            "expected_users",
            FLOAT,
            "result.expected_users",
            "How many users it should have by the weights.",
            number_format="#,##0.0",
        ),
        Column(
            "srm_chi_square",
            FLOAT,
            "result.srm_chi_square",
            "How far the split of the users is from the weights.",
            number_format="0.00",
        ),
        Column(
            "srm_p_value", FLOAT, "NULL::float8", "How likely so uneven a split is by chance.", number_format="0.0000"
        ),
        Column("sample_ratio_mismatch", BOOLEAN, "NULL::boolean", "Whether that is too unlikely.", example="false"),
    ),
    filters=(
        Filter("experiment_id", UUID, "experiment.id IN ({values})", "Only of these experiments.", many=True),
        Filter("metric", TEXT, "named.metric IN ({values})", "Only these metrics.", many=True),
        Filter("status", TEXT, "experiment.status IN ({values})", "Only experiments in these states.", many=True),
    ),
    date_column="assignment.assigned_at",
    date_label="when users were assigned",
    owner=Owner(
        "experiment_id",
        "SELECT owner_id::text FROM experiments WHERE id = {value}",
        "experiment",
        "experiment.owner_id",
        witness="result.owned",
    ),
    access={
        Role.CAMPAIGN_MANAGER: Scope.OWN,
        Role.ANALYST: Scope.ALL,
        Role.ADMIN: Scope.ALL,
        Role.SERVICE: Scope.ALL,
    },
    tables=("experiments", "variants", "assignments", "metrics"),
    report=Report(
        charts=(
            Chart(
                "Conversion rate with 95% interval",
                ChartKind.BAR,
                "variant",
                _RATE,
                interval=("rate_low", "rate_high"),
                panels=("experiment", "metric"),
            ),
        ),
        subject="experiment",
        subject_id="experiment_id",
        trial=_TRIAL,
    ),
    derive=derive,
)
