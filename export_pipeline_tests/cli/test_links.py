"""Links from the command line: served by a process of their own, listed and revoked."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from export_pipeline.cli.local import download
from export_pipeline.cli.main import commands
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Broken, ExportError, Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.settings import Settings
from export_pipeline_tests.conftest import variables_of

ADMIN = "admin@example.com"
COMMAND = (sys.executable, "-c", "from export_pipeline.cli.main import main; main()")


@pytest.fixture(autouse=True)
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as environment variables."""
    for name, value in variables_of(settings).items():
        monkeypatch.setenv(name, value)


def run(*arguments: str, email: str = ADMIN) -> dict[str, Any]:
    """Runs `export-pipeline …` as somebody. Returns what it prints as JSON, or raises its error."""
    done = CliRunner().invoke(commands, [*arguments, "--as", email, "--json"])
    if isinstance(done.exception, ExportError):
        raise done.exception
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def address_in(log: Path, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"the door did not open:\n{log.read_text()[-2000:]}")


def test_links_when_served_then_downloaded_listed_and_revoked_and_no_token_is_printed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = run_export(engine, file_request(engine, ExportRequest("leads", ADMIN, {"limit": "5"})))
    log = tmp_path / "door.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, "links", "serve", "--port", "0"], env=dict(os.environ), stdout=output, stderr=output
        )
    try:
        monkeypatch.setenv("EXPORT_LINK_URL", address_in(log, process))
        made = run("link", job.id)
        assert made["link"].startswith(f"{os.environ['EXPORT_LINK_URL']}/links/")
        with urlopen(made["link"]) as response:
            assert len(response.read()) == job.bytes
        [listed] = run("links", "list", job.id)["links"]
        assert (listed["issued_to"], listed["uses"], listed["revoked_at"]) == (ADMIN, 1, None)
        with pytest.raises(Forbidden):
            run("links", "revoke", job.id, email="manager@example.com")
        [revoked] = run("links", "revoke", job.id, email="compliance@example.com")["links"]
        assert (revoked["link"], revoked["revoked_by"]) == (listed["link"], "compliance@example.com")
        with pytest.raises(HTTPError, match="404"):
            urlopen(made["link"])
        shown = CliRunner().invoke(commands, ["links", "list", job.id, "--as", ADMIN]).stdout
        assert job.files[0].key.rpartition("/")[2] in shown
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 130
    printed = log.read_text()
    assert "EXPORT_LINK_URL is not set here" in printed
    assert f"link {listed['link']} to the export {job.id} was used" in printed
    assert made["link"].rpartition("/")[2] not in printed + shown


def test_links_when_presigned_then_revoke_fails_and_says_until_when_they_work_and_what_ends_them(
    engine: Engine,
) -> None:
    job, other = (
        run_export(
            engine,
            file_request(
                engine, ExportRequest("leads", ADMIN, {"limit": "5"}, options=options, destination=destination)
            ),
        )
        for options, destination in (({"max_file_rows": "3"}, "s3"), ({}, "local"))
    )
    nothing = {"links": 0, "until": None}
    issue_link(engine, ADMIN, other.id)
    assert run("links", "revoke", other.id)["presigned"] == nothing, "a path in a folder opens nothing"
    assert run("links", "revoke", job.id)["presigned"] == nothing
    issue_link(engine, ADMIN, job.id)
    link = issue_link(engine, ADMIN, job.id)
    presigned = {"links": 4, "until": link.expires_at.isoformat()}
    assert run("links", "list", job.id) == {"id": job.id, "links": [], "presigned": presigned}
    done = CliRunner().invoke(commands, ["links", "revoke", job.id, "--as", ADMIN, "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["links"], told["presigned"], told["error_kind"]) == (2, [], presigned, "invalid")
    way = re.escape(f"export-pipeline expire {job.id} --as EMAIL")
    sentence = rf"4 links were presigned .* until {link.expires_at:%Y-%m-%d %H:%M:%S}Z .* {way}$"
    assert re.match(sentence, told["error"])
    shown = CliRunner().invoke(commands, ["links", "revoke", job.id, "--as", ADMIN])
    assert shown.exit_code == 2 and " ".join(shown.stderr.split()).startswith("4 links were presigned")
    with urlopen(link.url) as response:
        assert response.status == 200, "and so it is"
    with pytest.raises(Forbidden):
        run("links", "list", job.id, email="manager@example.com")

    with pytest.raises(Forbidden):
        run("expire", job.id, email="manager@example.com")
    ended = run("expire", job.id, "--reason", "sent to the wrong address", email="compliance@example.com")
    assert ended == {"id": job.id, "status": "expired"}
    assert run("show", job.id)["status"] == "expired"
    with pytest.raises(HTTPError, match="404") as gone:
        urlopen(link.url)
    gone.value.close()
    assert run("links", "revoke", job.id)["presigned"] == nothing
    with pytest.raises(Rejected, match="is expired: it has no files"):
        run("expire", job.id)


def test_links_when_presigned_ones_have_expired_then_revoke_has_nothing_to_say(engine: Engine) -> None:
    job = run_export(engine, file_request(engine, ExportRequest("leads", ADMIN, {"limit": "5"})))
    engine.audit.link(job, actor=ADMIN, expires_at=datetime.now(UTC))
    assert run("links", "revoke", job.id)["presigned"] == {"links": 0, "until": None}


def test_file_when_it_cannot_be_fetched_then_broken_without_the_link_and_nothing_is_left(
    engine: Engine, tmp_path: Path
) -> None:
    job = run_export(engine, file_request(engine, ExportRequest("leads", ADMIN, {"limit": "5"})))
    url = issue_link(engine, ADMIN, job.id).url
    assert download(url, tmp_path, job).stat().st_size == job.bytes
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    place = str(engine.settings.aws_endpoint_url)
    for address, said in (
        (url.replace(place, nobody), f"{nobody}: .*refused"),
        (url.replace("X-Amz-Signature=", "X-Amz-Signature=0"), f"{place}: "),
    ):
        with pytest.raises(Broken, match=f"export {job.id} could not be fetched from {said}") as caught:
            download(address, tmp_path, job)
        assert "Signature" not in str(caught.value)
        assert list(tmp_path.glob("*.csv")) == []
