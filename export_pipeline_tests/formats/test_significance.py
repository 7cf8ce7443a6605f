"""The tests of significance give what textbooks print."""

from statistics import mean, stdev

import pytest

from export_pipeline.formats._significance import (
    Rate,
    Sample,
    compare_means,
    compare_rates,
    holm,
    mean_interval,
    rate_interval,
)


@pytest.mark.parametrize(
    ("successes", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_rate_interval_when_compared_with_newcombe_1998_then_equal(
    successes: int, rows: int, low: float, high: float
) -> None:
    assert rate_interval(Rate(successes, rows)) == pytest.approx((low, high), abs=5e-5)


def test_rate_interval_when_no_rows_then_none() -> None:
    assert rate_interval(Rate(0, 0)) is None


def test_compare_rates_when_the_physicians_health_study_then_its_chi_squared() -> None:
    # Heart attacks under placebo and aspirin (Agresti): X² = 25.01 with one degree of freedom.
    from scipy import stats

    p = compare_rates(Rate(189, 11_034), Rate(104, 11_037))

    assert p is not None
    assert stats.chi2.isf(p, 1) == pytest.approx(25.01, abs=0.01)


def test_compare_rates_when_few_are_expected_then_fishers_tea() -> None:
    assert compare_rates(Rate(3, 4), Rate(1, 4)) == pytest.approx(0.4857, abs=1e-4)


def test_compare_rates_when_nobody_and_everybody_then_exact_and_no_error() -> None:
    assert compare_rates(Rate(0, 50), Rate(0, 60)) == 1.0
    assert compare_rates(Rate(0, 0), Rate(5, 10)) is None


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        # Weights of screws from two machines, a worked example of many textbooks: t = 1.959, 7.03 degrees of freedom.
        ([30.02, 29.99, 30.11, 29.97, 30.01, 29.99], [29.89, 29.93, 29.72, 29.98, 30.02, 29.98], 0.09077),
        ([3.0, 4.0, 1.0, 2.1], [490.2, 340.0, 433.9], 0.01075),
    ],
)
def test_compare_means_when_published_examples_of_welch_then_their_p(
    one: list[float], other: list[float], p: float
) -> None:
    samples = [Sample(len(values), mean(values), stdev(values)) for values in (one, other)]

    assert compare_means(*samples) == pytest.approx(p, abs=5e-6)


@pytest.mark.parametrize("sample", [Sample(1, 3.0, None), Sample(0, None, None)])
def test_means_when_fewer_than_two_values_then_nothing_is_said(sample: Sample) -> None:
    assert compare_means(sample, Sample(10, 3.0, 1.0)) is None
    assert mean_interval(sample) is None


def test_compare_means_when_nothing_varies_then_none() -> None:
    assert compare_means(Sample(5, 3.0, 0.0), Sample(5, 4.0, 0.0)) is None
    # What rounding leaves of a thousand prices of 19.90.
    assert compare_means(Sample(1000, 19.900000000000013, 7e-14), Sample(900, 19.9, 0.0)) is None
    assert compare_means(Sample(5, -1e9, 1e-5), Sample(5, 0.0, 0.0)) is None


def test_compare_means_when_values_are_small_and_vary_then_compared() -> None:
    assert compare_means(Sample(50, 1e-9, 1e-10), Sample(50, 2e-9, 0.0)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_means_when_a_number_is_not_finite_then_nothing_is_said(number: float) -> None:
    for sample in (Sample(10, number, 0.0), Sample(10, 3.0, number)):
        assert compare_means(sample, Sample(10, 3.0, 1.0)) is None
        assert mean_interval(sample) is None


def test_mean_interval_when_ten_values_then_students_quantile() -> None:
    # t(0.975; 9) = 2.262
    assert mean_interval(Sample(10, 0.0, 10**0.5)) == pytest.approx((-2.262, 2.262), abs=5e-4)


def test_holm_when_the_textbook_example_then_its_corrected_values() -> None:
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])


def test_holm_when_a_p_value_is_nan_then_the_others_count_alone() -> None:
    assert holm([float("nan"), 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
