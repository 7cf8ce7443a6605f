"""Which subjects a comparison has, and what is said of their differences."""

from pathlib import Path

import polars as pl
import pytest

from export_pipeline.formats._pdf_comparison import compare, labelled, subjects_of
from export_pipeline.model.dataset import TEXT, Column
from export_pipeline.model.errors import Rejected
from export_pipeline.model.report import Aggregate, Measure, Report

CAMPAIGN = Column("campaign", TEXT, "sql", "The campaign.")
REPORT = Report((Measure("Calls", Aggregate.COUNT),), subject="campaign", subject_filter="campaign_id")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "rows.arrow"
    rows = {
        "campaign": ["Loans", "Loans", "Cards", "Cards", "Loans", "Funds"],
        "id": ["11111111-a", "22222222-a", "33333333-a", "33333333-b", "11111111-a", None],
    }
    pl.DataFrame(rows).write_ipc(path)
    return path


def test_subjects_when_several_have_one_name_then_told_apart_by_the_id(staged: Path) -> None:
    found, count = subjects_of(labelled(staged, CAMPAIGN, "UTC", "id"))
    assert found == ["Loans (11111111)", "Loans (22222222)", "Cards (33333333-a)", "Cards (33333333-b)", "Funds"]
    assert count == 5


def test_subjects_when_a_text_says_that_there_is_none_then_not_the_one_without(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    pl.DataFrame({"campaign": ["(none)", None]}).write_ipc(path)
    assert subjects_of(labelled(path, CAMPAIGN, "UTC")) == (['"(none)"', "(none)"], 2)


def test_comparison_when_fewer_subjects_than_were_asked_for_then_refused(staged: Path) -> None:
    frame = labelled(staged, CAMPAIGN, "UTC")
    with pytest.raises(Rejected, match="4 values of campaign_id were asked for, and the rows have 3 of campaign"):
        compare(frame, REPORT, CAMPAIGN, zone="UTC", still_wanted=lambda: None, asked={"1", "2", "3", "4"})
    found = compare(frame, REPORT, CAMPAIGN, zone="UTC", still_wanted=lambda: None, asked={"1", "2", "3"})
    assert found.subjects == ("Loans", "Cards", "Funds")


@pytest.mark.parametrize(
    ("seconds", "too_few", "no_variation"),
    [([5, 5, 7, 7], False, True), ([5, 5, 7], True, False), ([5, 6, 7, 7], False, False)],
)
def test_comparison_when_values_do_not_vary_then_not_said_to_be_too_few(
    tmp_path: Path, seconds: list[int], too_few: bool, no_variation: bool
) -> None:
    path = tmp_path / "rows.arrow"
    pl.DataFrame({"campaign": ["A", "A", "B", "B"][: len(seconds)], "seconds": seconds}).write_ipc(path)
    report = Report((Measure("Length", Aggregate.MEAN, "seconds"),), subject="campaign")

    found = compare(labelled(path, CAMPAIGN, "UTC"), report, CAMPAIGN, zone="UTC", still_wanted=lambda: None)

    [[_, other]] = found.findings
    assert (other.too_few, other.no_variation) == (too_few, no_variation)


def test_comparison_when_values_are_no_numbers_then_neither_is_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    rows = {"campaign": ["A", "A", "B", "B"], "seconds": [1.0, float("nan"), float("inf"), 2.0]}
    pl.DataFrame(rows).write_ipc(path)
    report = Report((Measure("Length", Aggregate.MEAN, "seconds"),), subject="campaign")

    found = compare(labelled(path, CAMPAIGN, "UTC"), report, CAMPAIGN, zone="UTC", still_wanted=lambda: None)

    assert [(finding.value, finding.bounds) for finding in found.findings[0]] == [(None, None), (None, None)]
