"""The statistics of experiments, against published values and against SciPy on the raw rows."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import polars as pl
import psycopg
import pytest
from scipy import stats

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import ADMIN, MANAGER, read, table

#: The published totals of the Cookie Cats test: users, and how many came back after one and after seven days.
COOKIE_CATS = {"gate_30": (44_700, 20_034, 8_502), "gate_40": (45_489, 20_119, 8_279)}


@contextmanager
def experiment(server: Postgres, users: dict[str, int], metrics: list[tuple[str, str, int, float]]) -> Iterator[Engine]:
    """A source with an experiment of variants with so many users, the first the control, and of each metric and variant
    so many users with a value; who they are does not matter."""
    with fresh_database(server) as url:
        with psycopg.connect(url) as connection:
            connection.execute((files("export_pipeline.embedded") / "schema.sql").read_bytes())
            connection.execute(
                "INSERT INTO users (id, email, username, role) VALUES (%s, %s, 'admin', 'admin')",
                (sample_id("user", ADMIN), ADMIN),
            )
            connection.execute(
                "INSERT INTO experiments (id, name, owner_id, status) SELECT md5('e')::uuid, 'Cookie Cats', id,"
                " 'stopped' FROM users"
            )
            for place, (name, count) in enumerate(users.items()):
                connection.execute(
                    "INSERT INTO variants (id, experiment_id, name, is_control)"
                    " VALUES (md5(%s)::uuid, md5('e')::uuid, %s, %s)",
                    (name, name, place == 0),
                )
                connection.execute(
                    "INSERT INTO assignments (id, experiment_id, variant_id, distinct_id)"
                    " SELECT md5(%(name)s || n)::uuid, md5('e')::uuid, md5(%(name)s)::uuid, %(name)s || n"
                    " FROM generate_series(1, %(count)s) AS n",
                    {"name": name, "count": count},
                )
            for metric, name, count, value in metrics:
                connection.execute(
                    "INSERT INTO metrics (assignment_id, metric, value) SELECT md5(%s || n)::uuid, %s, %s"
                    " FROM generate_series(1, %s) AS n",
                    (name, metric, value, count),
                )
            connection.execute("ANALYZE variants, assignments, metrics")
        with open_services(load_settings(DATABASE_URL=url)) as engine:
            yield engine


@pytest.fixture(scope="module")
def cookie_cats(postgres_server: Postgres) -> Iterator[Engine]:
    """A source with as many users as that test had."""
    metrics = [
        (metric, name, found[place], 1.0)
        for name, found in COOKIE_CATS.items()
        for place, metric in ((1, "retention_1"), (2, "retention_7"))
    ]
    with experiment(postgres_server, {name: found[0] for name, found in COOKIE_CATS.items()}, metrics) as engine:
        yield engine


def test_means_when_no_value_varies_then_no_difference_is_significant(postgres_server: Postgres) -> None:
    users = {"gate_30": 1_000, "gate_40": 900}
    metrics = [("price", name, count, 19.9) for name, count in users.items()]
    with experiment(postgres_server, users, metrics) as engine:
        rows = read(engine, "experiment_results").to_dicts()
    assert [row["mean_standard_error"] for row in rows] == [0, 0]
    assert {(row["mean_z_score"], row["mean_p_value"]) for row in rows} == {(None, None)}


def test_means_when_the_controls_is_negative_then_more_is_a_lift(postgres_server: Postgres) -> None:
    users = {"gate_30": 20, "gate_40": 20}
    metrics = [("balance", "gate_30", 20, -10.0), ("balance", "gate_40", 20, -5.0)]
    with experiment(postgres_server, users, metrics) as engine:
        [found] = [row for row in read(engine, "experiment_results").to_dicts() if not row["is_control"]]
    assert (found["mean_difference"], found["mean_lift"]) == (5.0, 0.5)


def test_results_when_cookie_cats_then_as_published(cookie_cats: Engine) -> None:
    rows = {(row["metric"], row["variant"]): row for row in read(cookie_cats, "experiment_results").to_dicts()}
    day, week = rows["retention_1", "gate_40"], rows["retention_7", "gate_40"]
    assert (day["users"], day["conversions"]) == (45_489, 20_119)
    assert rows["retention_1", "gate_30"]["conversion_rate"] == pytest.approx(0.448188, abs=1e-6)
    assert day["conversion_rate"] == pytest.approx(0.442283, abs=1e-6)
    assert rows["retention_7", "gate_30"]["conversion_rate"] == pytest.approx(0.190201, abs=1e-6)
    assert week["conversion_rate"] == pytest.approx(0.182000, abs=1e-6)
    # Pooled two-proportion tests: the difference after a day is no proof, that after a week is one.
    assert (day["z_score"], day["p_value"]) == (pytest.approx(-1.7841, abs=1e-4), pytest.approx(0.0744, abs=1e-4))
    assert (week["z_score"], week["p_value"]) == (pytest.approx(-3.1644, abs=1e-4), pytest.approx(0.00155, abs=1e-5))
    assert day["difference_low"] < 0 < day["difference_high"]
    assert week["difference_low"] < week["difference"] < week["difference_high"] < 0
    assert week["lift"] == pytest.approx(-0.04312, abs=1e-5)
    # And the split of the users is less even than it should be.
    assert day["srm_chi_square"] == pytest.approx(6.9024, abs=1e-4)
    assert day["srm_p_value"] == pytest.approx(0.0086, abs=1e-4)
    assert day["sample_ratio_mismatch"] is True


def test_results_when_computed_another_way_then_equal(sample_engine: Engine) -> None:
    raw = table(
        sample_engine,
        """
        SELECT e.name AS experiment, v.name AS variant, v.weight, v.is_control, n.metric, a.id::text,
            coalesce((SELECT sum(m.value) FROM metrics m WHERE m.assignment_id = a.id AND m.metric = n.metric), 0)
                AS total
        FROM experiments e JOIN variants v ON v.experiment_id = e.id JOIN assignments a ON a.variant_id = v.id
            CROSS JOIN (VALUES ('retention_1d'), ('retention_7d'), ('revenue_usd')) AS n (metric)
        """,
    )
    found = {
        (row["experiment"], row["metric"], row["variant"]): row
        for row in read(sample_engine, "experiment_results").to_dicts()
    }
    assert len(found) == 21
    mismatches = set()
    for (experiment, metric), group in raw.group_by("experiment", "metric"):
        users = group.group_by("variant").agg(pl.len().alias("users"), pl.col("weight").first()).sort("variant")
        expected = users["weight"] / users["weight"].sum() * users["users"].sum()
        split = stats.chisquare(users["users"].to_numpy(), expected.to_numpy())
        control = group.filter("is_control")["total"]
        for (variant,), of in group.group_by("variant"):
            row, total = found[experiment, metric, variant], of["total"]
            assert (row["users"], row["conversions"]) == (len(total), (total > 0).sum())
            assert row["conversion_rate"] == pytest.approx((total > 0).mean())
            wilson = stats.binomtest(row["conversions"], row["users"]).proportion_ci(method="wilson")
            assert (row["rate_low"], row["rate_high"]) == pytest.approx((wilson.low, wilson.high))
            assert row["mean"] == pytest.approx(total.mean())
            assert row["mean_standard_error"] == pytest.approx(stats.sem(total.to_numpy()))
            assert (row["srm_chi_square"], row["srm_p_value"]) == pytest.approx((split.statistic, split.pvalue))
            if row["sample_ratio_mismatch"]:
                mismatches.add(experiment)
            if row["is_control"]:
                assert {row[name] for name in ("difference", "lift", "z_score", "p_value", "mean_p_value")} == {None}
                continue
            # The chi-square of the two by two table is the square of the pooled z.
            counts = [[(of_ > 0).sum(), (of_ <= 0).sum()] for of_ in (total, control)]
            test = stats.chi2_contingency(counts, correction=False)
            assert (row["z_score"] ** 2, row["p_value"]) == pytest.approx((test.statistic, test.pvalue))
            welch = stats.ttest_ind(total.to_numpy(), control.to_numpy(), equal_var=False)
            assert row["mean_z_score"] == pytest.approx(welch.statistic)
            assert row["mean_p_value"] == pytest.approx(2 * stats.norm.sf(abs(welch.statistic)))
            rates = [(of_ > 0).mean() for of_ in (total, control)]
            error = sum(rate * (1 - rate) / len(of_) for rate, of_ in zip(rates, (total, control), strict=True)) ** 0.5
            interval = stats.norm.interval(0.95, rates[0] - rates[1], error)
            assert (row["difference_low"], row["difference_high"]) == pytest.approx(interval)
            assert row["lift"] == pytest.approx(rates[0] / rates[1] - 1)
    assert mismatches == {"Skewed reminder"}


def test_columns_when_only_derived_ones_are_chosen_then_the_same_values(sample_engine: Engine) -> None:
    chosen = ("srm_p_value", "p_value")
    whole = read(sample_engine, "experiment_results", email=MANAGER)
    some = read(sample_engine, "experiment_results", email=MANAGER, columns=chosen)
    assert some.columns == list(chosen)
    assert some.equals(whole.select(chosen))
    assert some["p_value"].null_count() < some.height


def test_results_when_a_variant_has_no_users_then_the_others_have_their_numbers(cookie_cats: Engine) -> None:
    with psycopg.connect(cookie_cats.settings.source.get_secret_value()) as connection:
        connection.execute(
            "INSERT INTO variants (id, experiment_id, name) VALUES (md5('none')::uuid, md5('e')::uuid, 'none')"
        )
    rows = read(cookie_cats, "experiment_results", {"metric": "retention_7"}).to_dicts()
    with psycopg.connect(cookie_cats.settings.source.get_secret_value()) as connection:
        connection.execute("DELETE FROM variants WHERE name = 'none'")
    assert [row["variant"] for row in rows] == ["gate_30", "gate_40"]
    split = stats.chisquare([44_700, 45_489, 0])
    assert rows[0]["srm_chi_square"] == pytest.approx(split.statistic)
    assert (rows[0]["variants"], rows[0]["srm_p_value"]) == (3, pytest.approx(split.pvalue))


def test_summary_when_of_experiments_then_means_and_totals(sample_engine: Engine) -> None:
    rows = read(sample_engine, "metrics_summary").filter(pl.col("kind") == "experiment")
    results = read(sample_engine, "experiment_results")
    totals = rows.filter(pl.col("level") == "total")
    assert set(totals["name"]) == set(results["experiment"])
    for row in totals.to_dicts():
        of = results.filter(pl.col("experiment") == row["name"])
        means = json.loads(row["metric_means"])
        assert row["assigned"] == of.filter(pl.col("metric") == "revenue_usd")["users"].sum()
        assert row["assigned"] == rows.filter(pl.col("name") == row["name"], pl.col("level") == "day")["assigned"].sum()
        for (metric,), group in of.group_by("metric"):
            assert means[metric] == pytest.approx((group["mean"] * group["users"]).sum() / group["users"].sum())
