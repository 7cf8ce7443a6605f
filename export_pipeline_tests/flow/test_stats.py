"""What there is to export: exact where it is little, near enough where it is much, and only what one may have."""

from dataclasses import replace
from datetime import date

import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.stats import DatasetStats, dataset_stats
from export_pipeline.ledger.audit import Action
from export_pipeline.model.access import Role, Scope
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, MANAGER, ask


def of(engine: Engine, email: str, dataset: str) -> DatasetStats:
    [found] = dataset_stats(engine, email, dataset)
    return found


def test_stats_when_little_then_counted(sample_engine: Engine) -> None:
    found = {item.dataset: item for item in dataset_stats(sample_engine, ADMIN)}
    assert set(found) == {name for name, item in sample_engine.datasets.items() if Role.ADMIN in item.access}
    [(rows, first, last)] = ask(sample_engine, "SELECT count(*), min(created_at), max(created_at) FROM leads")
    states = dict(ask(sample_engine, "SELECT status, count(*) FROM leads GROUP BY 1"))
    leads = found["leads"]
    assert (leads.rows, leads.about, leads.first, leads.last) == (rows, False, first, last)
    assert leads.by_status == states
    analytics = found["lead_analytics"]
    assert not analytics.about and isinstance(analytics.first, date) and analytics.by_status is None
    assert found["campaign_results"].rows and "PENDING" in (found["campaign_results"].by_status or {})


def test_stats_when_much_then_about_right(sample_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export_pipeline.flow.stats._MOST_COUNTED", 10)
    exact = ask(sample_engine, "SELECT outcome, count(*) FROM contacts GROUP BY 1")
    found = of(sample_engine, ADMIN, "contacts")
    assert found.about and found.rows == pytest.approx(45_211, rel=0.05)
    assert found.by_status is not None
    for state, count in exact:
        assert found.by_status.get(state, 0) == pytest.approx(count, rel=0.5, abs=500)
    calls = of(sample_engine, ADMIN, "calls")
    [(first, last)] = ask(sample_engine, "SELECT min(started_at), max(started_at) FROM calls")
    assert (calls.first, calls.last) == (first, last), "by the index, so exact"


def test_stats_when_ones_own_then_only_those_rows(sample_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "SELECT count(*) FROM contacts JOIN campaigns c ON c.id = campaign_id JOIN users u ON u.id = owner_id"
    [(rows,)] = ask(sample_engine, f"{own} WHERE u.email = %s", MANAGER)
    found = of(sample_engine, MANAGER, "contacts")
    assert (found.scope, found.rows, found.about) == (Scope.OWN, rows, False)
    monkeypatch.setattr("export_pipeline.flow.stats._MOST_COUNTED", 10)
    monkeypatch.setattr("export_pipeline.flow.stats._SAMPLED_ROWS", 20_000)
    assert of(sample_engine, MANAGER, "contacts").rows == pytest.approx(rows, rel=0.5)


def test_stats_when_a_question_takes_too_long_then_left_open(
    sample_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export_pipeline.flow.stats._QUESTION_MILLISECONDS", 1)
    found = of(sample_engine, ADMIN, "metrics_summary")
    assert (found.rows, found.first, found.by_status) == (None, None, None)


def test_stats_when_the_source_lacks_a_datasets_tables_then_the_others_are_told(sample_engine: Engine) -> None:
    gone = replace(sample_engine.datasets["campaigns"], source="no_such_table AS campaign")
    engine = replace(sample_engine, datasets={"campaigns": gone, "leads": sample_engine.datasets["leads"]})
    assert [item.rows is None for item in dataset_stats(engine, ADMIN)] == [True, False]
    with pytest.raises(Broken, match="no_such_table"):
        dataset_stats(engine, ADMIN, "campaigns")


def test_stats_when_the_role_may_not_then_forbidden_and_audited_or_left_out(
    engine: Engine, sample_engine: Engine
) -> None:
    with pytest.raises(Forbidden) as refused:
        dataset_stats(engine, ANALYST, "audit_log")
    [entry] = engine.audit.latest(10)
    event = entry.event
    assert (event.action, event.actor, event.dataset) == (Action.REFUSAL, ANALYST, "audit_log")
    assert event.reason == str(refused.value)
    assert "audit_log" not in {item.dataset for item in dataset_stats(sample_engine, ANALYST)}
    with pytest.raises(Rejected, match="no dataset 'nothing'"):
        dataset_stats(sample_engine, ADMIN, "nothing")
