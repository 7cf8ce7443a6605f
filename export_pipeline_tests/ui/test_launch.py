"""As an operator uses it: Dagster in a real browser, `export_job` launched from the launchpad, the file opened."""

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from export_pipeline.embedded.sample import USERS
from export_pipeline.flow.links import issue_link
from export_pipeline.model.job import Status
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings

CHROMIUM = Path("/usr/bin/chromium")
COMMAND = (sys.executable, "-c", "from export_pipeline.cli.main import main; main()")
#: Without these, Chromium looks up hosts outside at every start.
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """`export-pipeline up` on a state of its own: the UI's address, and the environment."""
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed here: apt-get install chromium")
    environment = {**os.environ, "EXPORT_STATE_DIRECTORY": str(tmp_path / "state"), "COLUMNS": "200"}
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*COMMAND, "up"], env=environment, stdout=output, stderr=output)
    try:
        yield _address(log, process), environment
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert not _left(tmp_path), "processes stayed after Ctrl-C"


def test_export_job_when_launched_from_the_launchpad_then_the_file_is_there(
    up: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from playwright.sync_api import sync_playwright

    address, environment = up
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.goto(f"{address}/locations/export_pipeline/jobs/export_job/playground")
        page.get_by_role("button", name="Launch Run").click(timeout=30_000)
        page.wait_for_url("**/runs/**", timeout=30_000)
        page.get_by_text("RUN_SUCCESS").first.wait_for(timeout=60_000)
        assert page.get_by_text(re.compile("delivered [0-9,]+ rows")).count() >= 1
        run_id = page.url.rpartition("/")[2].partition("?")[0]
        text = page.inner_text("body")
        browser.close()
    assert not any(email in text for email in USERS), "a person's address is on the run's page"

    monkeypatch.setenv("EXPORT_STATE_DIRECTORY", environment["EXPORT_STATE_DIRECTORY"])
    with open_services(load_settings()) as engine:
        (job,) = engine.jobs.of_run(run_id)
        assert job.status is Status.COMPLETED
        link = issue_link(engine, job.request.requested_by, job.id)
        with urllib.request.urlopen(link.url) as response:
            rows = list(csv.DictReader(io.StringIO(response.read().decode("utf-8-sig"), newline="")))
    assert len(rows) == job.rows
    assert rows[0]["phone"].startswith("+1")


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"`up` did not come up:\n{log.read_text()[-2000:]}")


def _left(folder: Path) -> list[str]:
    """The command lines of processes that name the folder."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        found = [
            text
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if (text := _text(path)) and str(folder) in text and str(os.getpid()) != path.parent.name
        ]
        if not found:
            return []
        time.sleep(0.2)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().replace("\0", " ")
    except OSError:
        return ""
