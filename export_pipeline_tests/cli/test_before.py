"""The commands for before and after an export, as their user runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline_tests.cli.test_commands import document, environment, run

__all__ = ["environment", "run"]  # fixtures

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ADMIN = ("--as", "admin@example.com")
ASKED = ("campaign_results", "--filter", f"campaign_id={LAST_CAMPAIGN}")
KEY = "one key of 32 characters or more"


def test_before_when_asked_then_rows_numbers_and_what_to_mind(run: Run) -> None:
    shown = run("preview", *ASKED, *ADMIN, "--rows", "2", "--columns", "phone,call_status")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "phone,call_status" and len(lines) == 3
    told = document(run("preview", *ASKED, *ADMIN, "--format", "xlsx", "--rows", "3", "--json"))["parts"][0]
    assert told["text"] is None and len(told["rows"]) == 3 and told["rows"][0][2] == lines[1].partition(",")[0]
    found = document(run("estimate", *ASKED, *ADMIN, "--option", "profile=raw", "--json"))
    assert found["rows"] > 0 and found["parts"][0]["rows_basis"] == "counted" and found["warnings"]
    assert "mind: campaign_results: personal data" in run("estimate", *ASKED, *ADMIN).stdout
    stats = document(run("stats", "campaigns", *ADMIN, "--json"))["datasets"]
    assert (stats[0]["rows"], stats[0]["about"], stats[0]["scope"]) == (30, False, "all")
    assert "campaigns" in run("stats", *ADMIN).stdout
    refused = run("preview", *ASKED, "--as", "manager@example.com")
    assert (refused.returncode, "is not yours" in " ".join(refused.stderr.split())) == (3, True)


def test_after_when_searched_then_found_counted_and_expired(run: Run, tmp_path: Path) -> None:
    secret = {"EXPORT_SUBJECT_KEY": KEY, "EXPORT_DIRECTORY": str(tmp_path / "out")}
    done = run("export", *ASKED, *ADMIN, "--destination", "local", "--direct", "--json", **secret)
    assert done.returncode == 0, done.stderr
    export = document(done)["id"]
    listed = document(run("list", "--dataset", "campaign_results", "--by", "admin@example.com", *ADMIN, "--json"))
    assert [item["id"] for item in listed["exports"]] == [export] and listed["next_before"] is None
    assert "older ones: --before" in run("list", *ADMIN, "--limit", "1").stdout
    uses = document(run("usage", *ADMIN, "--from", "2020-01-01", "--to", "2199-01-01", "--json"))["usage"]
    assert {(use["kind"], use["name"], use["exports"]) for use in uses} == {
        ("dataset", "campaign_results", 1),
        ("format", "csv", 1),
    }
    phone = next((tmp_path / "out").rglob("*.csv")).read_text("utf-8-sig").splitlines()[1].split(",")
    number = next(value for value in phone if value.startswith("+"))
    found = run("subject", "find", number, "--as", "compliance@example.com", "--json", **secret)
    assert [item["id"] for item in document(found)["exports"]] == [export]
    expired = run("subject", "expire", number, "--reason", "asked for", "--as", "compliance@example.com", **secret)
    assert expired.returncode == 0 and "1 of 1 exports searched hold the person; 1 expired" in expired.stdout
    assert not list((tmp_path / "out").rglob("*.*"))
    off = run("subject", "find", number, "--as", "compliance@example.com", "--json")
    assert (off.returncode, "EXPORT_SUBJECT_KEY" in json.loads(off.stdout)["error"]) == (2, True)
    short = run("stats", *ADMIN, EXPORT_SUBJECT_KEY="too short")
    assert short.returncode == 2 and "32 characters" in short.stderr and "too short" not in short.stderr
