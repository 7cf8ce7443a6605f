"""`alerts test` as somebody types it: sent, not sent, nothing set up."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from export_pipeline.cli.main import commands
from export_pipeline.model.errors import Rejected
from export_pipeline_tests.servers.hook import PATH, Hook, hook_server


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/asked")
    with hook_server() as server:
        monkeypatch.setenv("EXPORT_ALERT_WEBHOOK", server.url)
        yield server


def test_alerts_test_when_a_way_is_set_up_then_sends_and_says_so_without_the_ledger(hook: Hook) -> None:
    done = CliRunner().invoke(commands, ["alerts", "test"])
    assert (done.exit_code, done.stdout) == (0, "webhook: sent\n")
    [(path, body)] = hook.posts
    assert path == PATH
    assert json.loads(body)["text"].startswith("This is a test")


def test_alerts_test_when_it_is_refused_then_says_why_and_exits_with_five(hook: Hook) -> None:
    hook.status = 404
    done = CliRunner().invoke(commands, ["alerts", "test"])
    assert (done.exit_code, done.stdout.startswith("webhook: not sent: the webhook refused it (404)")) == (5, True)
    done = CliRunner().invoke(commands, ["alerts", "test", "--json"])
    document = json.loads(done.stdout)
    assert (done.exit_code, document["sent"]) == (5, {"webhook": False})
    assert "(404)" in document["errors"]["webhook"] and PATH not in done.stdout


def test_alerts_test_when_nothing_is_set_up_then_rejected_with_what_to_set(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXPORT_ALERT_WEBHOOK")
    done = CliRunner().invoke(commands, ["alerts", "test"])
    assert isinstance(done.exception, Rejected)
    assert "EXPORT_ALERT_TO" in str(done.exception)
    assert hook.posts == []
