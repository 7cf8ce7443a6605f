"""Comparisons of variants and of experiments: every number is a row's, and what cannot be compared is refused."""

from collections.abc import Sequence
from typing import Any

import pytest

from export_pipeline.datasets.experiment_results import DATASET
from export_pipeline.formats import _pdf_document as documents
from export_pipeline.formats._figures import compute
from export_pipeline.formats._pdf_branding import load_brand
from export_pipeline.formats.pdf import FORMAT, PdfOptions
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import FileContext
from export_pipeline_tests.formats.tables import SNAPSHOT_AT, OneWay, frame
from export_pipeline_tests.formats.test_pdf import pages

COLUMNS = DATASET.columns
NAMES = {column.name: column.name for column in COLUMNS}
GATE, PRICES = "6f1c1f6e-0000-5c0e-9a44-0f3f0f9f6a10", "7a2d2a7f-0000-5c0e-9a44-0f3f0f9f6a10"

Values = dict[str, Any]


def result(variant: str, rate: float, p: float | None = None, **others: Any) -> Values:
    """A row of the dataset; without a p-value that of a control. The numbers need not fit each other: none of them may
    be computed again."""
    compared = {
        "difference": 0.0123 if p != 0.03 else -0.2,
        "difference_low": 0.0045,
        "difference_high": 0.0678,
        "lift": 0.314,
        "p_value": p,
    }
    return {
        "experiment_id": GATE,
        "experiment": "Gate",
        "metric": "retention",
        "variant": variant,
        "is_control": p is None,
        "users": 1_234,
        "conversions": 77,
        "conversion_rate": rate,
        "rate_low": 0.0101,
        "rate_high": 0.9876,
        "expected_users": 1_200.5,
        "srm_p_value": 0.25,
        "sample_ratio_mismatch": False,
        **({} if p is None else compared),
        **others,
    }


def written(rows: Sequence[Values], names: dict[str, str] = NAMES, **options: str) -> str:
    """The text of the comparison, in one line. The file has the columns that have a name."""
    columns = [column for column in COLUMNS if column.name in names]
    made = FileContext("id", DATASET.name, "Results", tuple(columns), SNAPSHOT_AT, {}, DATASET.report.within(names))
    values = [tuple(row.get(column.name) for column in columns) for row in rows]
    target = OneWay()
    options = {"report": "comparison", **options}
    FORMAT.write(frame(values, columns), target, made, PdfOptions.model_validate(options))  # type: ignore[arg-type]
    return " ".join(pages(target.data.getvalue()))


VARIANTS = [
    result("longer", 0.4423, 0.0004),
    result("same", 0.2511, 0.6, mean_difference=1234.5, mean_lift=-0.2, mean_p_value=0.04),
    result("gate", 0.3131),
    result("less", 0.2222, 0.03),
    result("new", 0.5, 0.5) | {"p_value": None, "lift": None},
]
OTHER = {"experiment_id": PRICES, "experiment": "Prices"}
EXPERIMENTS = [
    *VARIANTS,
    result("now", 0.11, **OTHER),
    result("cheap", 0.12, 0.01, sample_ratio_mismatch=True, srm_p_value=0.0012, **OTHER),
    result("now", 0.11, metric="sales", **OTHER),
    result("cheap", 0.1357, 0.01, metric="sales", sample_ratio_mismatch=True, srm_p_value=0.0012, **OTHER),
]


def test_variants_when_compared_then_the_numbers_are_the_rows() -> None:
    text = written(VARIANTS)

    # The control comes first, whatever the order of the rows.
    assert "gate reference longer same less new" in text
    assert "Users 1,234 1,234" in text and "Users by the weights 1,200.5" in text and "Conversions 77 77" in text
    assert "31.31% 95%: 1.01% – 98.76% 44.23% 95%: 1.01% – 98.76% 25.11%" in text
    differences = ("1.23 pp ▲ {} p < 0.001", "1.23 pp {} p = 0.600", "−20.00 pp ▼ {} p = 0.030", "1.23 pp {} too few")
    assert " ".join(("Difference of rates –", *differences)).format(*["95%: 0.45 – 6.78"] * 4) in text
    assert "Lift of the rate – 31.4% 31.4% 31.4% –" in text
    # Of a negative mean the lift has the other sign.
    assert "1,234.5000 ▲ p = 0.040" in text and "−20.0%" in text
    assert "Sample ratio: the numbers of users fit the weights. (p = 0.250)" in text
    assert "Conversion rate: retention" in text and "not corrected for the number of comparisons" in text
    assert "How many users got it." in text and "Best variant" not in text


def test_variants_when_nobody_converted_then_rates_do_not_vary() -> None:
    assert "no variation" in written([result("gate", 0), result("new", 0, 0.5) | {"p_value": None, "difference": 0.0}])


def test_experiments_when_compared_then_each_ones_best_variant_against_its_control() -> None:
    text = written(EXPERIMENTS, language="de")

    assert "Beste Variante new gegen gate cheap gegen now" in text
    assert "Beste Variante – cheap gegen now" in text
    assert "12,00 %" in text and "13,57 %" in text and "1,23 PP" in text
    assert "Gate: Sample ratio: the numbers of users fit the weights. (p = 0,250)" in text
    assert "Prices: Sample ratio mismatch: the numbers of users do not fit the weights." in text
    # A p-value that should not be trusted is not marked.
    assert "1,23 PP 95 %: 0,45 – 6,78 p = 0,010" in text and "PP ▲" not in text


def test_experiments_when_of_the_same_name_then_told_apart() -> None:
    rows = [row | {"experiment": "Gate"} for row in EXPERIMENTS]

    text = written(rows)

    assert "Gate (6f1c1f6e)" in text and "Gate (7a2d2a7f)" in text


def test_executive_summary_when_rows_have_intervals_then_drawn_with_the_rows_numbers() -> None:
    made = FileContext("id", DATASET.name, "Results", COLUMNS, SNAPSHOT_AT, {}, DATASET.report)
    values = frame([tuple(row.get(column.name) for column in COLUMNS) for row in VARIANTS], COLUMNS)
    draft = documents.draft(load_brand(None), "en", made, "UTC")

    documents.executive_summary(draft, compute(values, made.report))

    [chart] = draft.charts.values()
    drawn = [(bar["label"], bar["low"], bar["value"], bar["high"]) for bar in chart["data"]["values"]]
    assert drawn == [(row["variant"], 0.0101, row["conversion_rate"], 0.9876) for row in VARIANTS]
    [item] = next(block["items"] for block in draft.blocks if block["type"] == "charts")
    assert item["title"] == "Conversion rate with 95% interval: retention"
    assert "longer 0.4423 (0.0101 – 0.9876); same 0.2511" in item["alt"]
    for report in ("executive_summary", "detailed_results"):
        text = written(VARIANTS, report=report)
        assert item["title"] in text and "0.4423" in text
    assert "rate_low" in text


@pytest.mark.parametrize(("metrics", "said"), [(4, []), (7, [["Hier weggelassene Diagramme: 3"]])])
def test_executive_summary_when_it_has_no_room_for_all_panels_then_says_how_many_more(
    metrics: int, said: list[list[str]]
) -> None:
    made = FileContext("id", DATASET.name, "Results", COLUMNS, SNAPSHOT_AT, {}, DATASET.report)
    rows = [row | {"metric": f"metric {number}"} for number in range(metrics) for row in VARIANTS[2:4]]
    values = frame([tuple(row.get(column.name) for column in COLUMNS) for row in rows], COLUMNS)
    draft = documents.draft(load_brand(None), "de", made, "UTC")

    documents.executive_summary(draft, compute(values, made.report))

    notes = [[item.partition(";")[0] for item in block["items"]] for block in draft.blocks if block["type"] == "notes"]
    assert notes == said


def many(count: int, **others: Any) -> list[Values]:
    return [result(f"v{number}", 0.5, 0.5 if number else None, **others) for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "by", "said"),
    [
        ([], "", "no results to compare.*by experiment_id"),
        (many(1), "", "2 to 6 variants, and the rows have 1;"),
        (many(7), "", r"2 to 6 variants, and the rows have 7; .*--where 'variant in .*detailed_results"),
        (many(2), "experiment", "2 to 6 experiments.*the rows have 1; choose by the filter experiment_id"),
        ([row for n in range(7) for row in many(2, experiment_id=f"e{n}")], "", "the rows have 7; .*several"),
        (EXPERIMENTS, "variant", "of 2 experiments, whose variants have different controls"),
        ([row for n in range(21) for row in many(2, metric=f"m{n}")], "", "20 metrics at most.*filter metric"),
        ([*many(2), *many(1, **OTHER)], "", "Prices has no control with another variant"),
        ([*many(2), *many(2, metric="sales", **OTHER)], "", "no metric in common"),
        (VARIANTS, "metric", "no key figures to compare: .*leave the option compare_by out"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else None,
)
def test_comparison_when_it_cannot_be_made_then_refused_with_advice(rows: list[Values], by: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        written(rows, compare_by=by)


def test_comparison_when_columns_are_missing_then_refused_and_others_are_left_out() -> None:
    without = {name: name for name in NAMES if name not in ("mean", "mean_p_value", "expected_users")}

    text = written(VARIANTS, without)

    assert "Lift of the rate" in text
    assert not any(said in text for said in ("Users by the weights", "Mean", "Difference of means"))
    with pytest.raises(Rejected, match="choose more columns"):
        written(VARIANTS, {name: name for name in NAMES if name != "is_control"})


def test_trial_when_columns_are_renamed_then_follows() -> None:
    trial = DATASET.report.within({name: f"our_{name}" for name in NAMES}).trial

    assert trial is not None
    assert (trial.variant, trial.check.failed) == ("our_variant", "our_sample_ratio_mismatch")
    [rate] = [item for item in trial.statistics if item.column == trial.value]
    assert rate.interval == ("our_rate_low", "our_rate_high")
