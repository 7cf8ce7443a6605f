"""Templates from the command line: whose they are, who may do what with them, and what a run of one is."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from export_pipeline.cli.main import commands
from export_pipeline.embedded import sample
from export_pipeline.embedded.sample import LAST_CAMPAIGN, sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.errors import ExportError, Forbidden, NotFound, Rejected
from export_pipeline.model.job import Status
from export_pipeline.settings import Settings
from export_pipeline_tests.conftest import variables_of

ADMIN = "admin@example.com"
ANALYST = "analyst@example.com"
COMPLIANCE = "compliance@example.com"
MANAGER = "manager@example.com"
OPERATOR = "operator@example.com"
#: A value in a filter that only whoever may see the template may see.
NAMED = sample_id("nobody", 7)
PAGE = Path(__file__).parents[2] / "docs" / "columns-and-templates.md"
SCHEMA = Path(sample.__file__).with_name("schema.sql")
LEADS = ("leads", "--filter", "status=new", "--format", "xlsx", "--option", "timezone=Europe/Vienna")

Command = Callable[..., dict[str, Any]]


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as environment variables, and the ledger's tables."""
    for name, value in variables_of(settings).items():
        monkeypatch.setenv(name, value)
    migrate_up(settings.database_url)


@pytest.fixture
def command(environment: None) -> Command:
    """Runs `export-pipeline template …` as somebody. Returns what it prints as JSON, or raises its error."""

    def run(email: str, *arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(commands, ["template", *arguments, "--as", email, "--json"])
        if isinstance(done.exception, ExportError):
            raise done.exception
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_commands_when_copied_from_the_docs_then_they_run_and_deliver(environment: None, engine: Engine) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    assert len(lines) == 10
    for line in lines:
        _, *arguments = shlex.split(line)
        waits = ["--no-wait"] if "export" in arguments or "run" in arguments else []
        done = CliRunner().invoke(commands, [*arguments, *waits])
        assert done.exit_code == 0, (line, done.exception, done.output)
    filed = engine.jobs.due()
    assert len(filed) == 5
    assert {run_export(engine, job).status for job in filed} == {Status.COMPLETED}


def names(found: dict[str, Any]) -> list[str]:
    return [item["name"] for item in found["templates"]]


def audited(settings: Settings) -> list[tuple[str, str, str | None, dict[str, Any]]]:
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        return connection.execute("SELECT action, actor, dataset, detail FROM exports.audit_log ORDER BY id").fetchall()


def test_template_when_made_changed_and_run_then_the_export_is_what_it_says(command: Command) -> None:
    made = command(MANAGER, "create", "New leads", *LEADS, "--columns", "id,upper(title) as title,price as euros")
    assert (made["owner"], made["version"], made["shared"]) == (MANAGER, 1, [])
    assert made["columns"] == ["id", "upper(title) as title", "price as euros"]

    edited = command(
        MANAGER, "edit", "New leads", "--filter", "min_price=10", "--option", "locale=de", "--reset", "columns",
        "--rename", "Fresh leads", "--share", "analyst,admin", "--if-version", "1",
    )  # fmt: skip
    assert (edited["id"], edited["version"], edited["name"]) == (made["id"], 2, "Fresh leads")
    assert edited["filters"] == {"status": "new", "min_price": "10"}
    assert edited["options"] == {"timezone": "Europe/Vienna", "locale": "de"}
    assert (edited["columns"], edited["shared"]) == ([], ["admin", "analyst"])

    filed = command(MANAGER, "run", "Fresh leads", "--filter", "min_price=20", "--filter", "limit=3", "--no-wait")
    assert (filed["dataset"], filed["format"], filed["requested_by"]) == ("leads", "xlsx", MANAGER)
    assert filed["filters"] == {"status": "new", "min_price": "20", "limit": "3"}
    again = command(MANAGER, "run", "Fresh leads", "--format", "csv", "--no-wait")
    assert (again["format"], again["options"]) == ("csv", {})

    [listed] = command(MANAGER, "list")["templates"]
    assert (listed["runs"], listed["filters"]) == (2, {"status": "new", "min_price": "10"})
    assert listed["last_run_at"] == again["created_at"]
    assert command(MANAGER, "delete", "Fresh leads")["deleted"] == made["id"]
    assert names(command(MANAGER, "list")) == []


def test_run_when_direct_then_the_file_has_the_columns_of_the_template(command: Command) -> None:
    campaign = f"campaign_id={LAST_CAMPAIGN}"
    command(ADMIN, "create", "results", "campaign_results", "--filter", campaign, "--columns", "lower(name) as who")
    done = command(ADMIN, "run", "results", "--filter", "limit=2", "--direct")
    assert (done["status"], done["rows"], done["verification"]) == ("completed", 2, "passed")
    assert done["columns"] == ["lower(name) as who"]


def test_template_when_private_then_for_others_there_is_none(command: Command) -> None:
    command(ANALYST, "create", "mine", *LEADS)
    for verb in ("show", "edit", "delete", "run"):
        with pytest.raises(NotFound, match="there is no template 'mine'"):
            command(MANAGER, verb, "mine")
        with pytest.raises(NotFound, match="there is no template"):
            command(MANAGER, verb, f"{ANALYST}/mine")
    assert names(command(MANAGER, "list")) == []
    assert names(command(ADMIN, "list")) == ["mine"]


def test_template_when_shared_then_run_with_ones_own_rights_and_changed_by_its_owner_alone(command: Command) -> None:
    columns = ("--columns", "title,upper(email) as address", "--share", "everyone")
    command(ADMIN, "create", "addresses", *LEADS, *columns)
    for email in (MANAGER, ANALYST, OPERATOR):
        assert command(email, "show", "addresses")["owner"] == ADMIN
        with pytest.raises(Forbidden, match=r"is admin@example\.com's; save one of your own"):
            command(email, "edit", "addresses", "--filter", "status=contacted")
        with pytest.raises(Forbidden, match="they or an administrator delete it"):
            command(email, "delete", "addresses")
    with pytest.raises(
        Forbidden, match="address cannot be computed in the role analyst: email does not leave as it is"
    ):
        command(ANALYST, "run", "addresses", "--no-wait")
    with pytest.raises(Forbidden, match="the role operator may not export leads"):
        command(OPERATOR, "run", "addresses", "--no-wait")
    filed = command(ADMIN, "run", "addresses", "--no-wait")
    assert filed["columns"] == ["title", "upper(email) as address"]


def test_template_when_shared_with_a_role_then_until_that_is_revoked(command: Command, settings: Settings) -> None:
    command(ADMIN, "create", "leads", *LEADS, "--share", "analyst")
    assert names(command(ANALYST, "list")) == ["leads"]
    assert names(command(MANAGER, "list")) == []
    command(ADMIN, "edit", "leads", "--share", "compliance")
    assert names(command(ANALYST, "list")) == []
    assert names(command(COMPLIANCE, "list")) == ["leads"]
    command(ADMIN, "edit", "leads", "--share", "none")
    with pytest.raises(NotFound):
        command(COMPLIANCE, "run", "leads")


def test_template_when_two_share_the_same_name_then_ones_own_or_whose(command: Command) -> None:
    for email in (ADMIN, MANAGER):
        command(email, "create", "leads", *LEADS, "--share", "everyone")
    assert command(MANAGER, "show", "leads")["owner"] == MANAGER
    assert command(MANAGER, "show", f"{ADMIN}/leads")["owner"] == ADMIN
    with pytest.raises(Rejected, match=r"several people share .* say whose: admin@example\.com/leads, "):
        command(ANALYST, "show", "leads")


def test_template_when_its_name_is_taken_then_refused(command: Command) -> None:
    command(MANAGER, "create", "one", *LEADS)
    command(MANAGER, "create", "two", *LEADS)
    for arguments in (("create", "one", *LEADS), ("edit", "two", "--rename", "one")):
        with pytest.raises(Rejected, match="you have a template 'one' already"):
            command(MANAGER, *arguments)


def test_template_when_changed_by_two_then_the_second_is_told(command: Command) -> None:
    command(MANAGER, "create", "leads", *LEADS)
    command(MANAGER, "edit", "leads", "--filter", "status=contacted", "--if-version", "1")
    with pytest.raises(Rejected, match="has version 2, not 1: look at it again"):
        command(MANAGER, "edit", "leads", "--filter", "status=rejected", "--if-version", "1")
    assert command(MANAGER, "show", "leads")["filters"] == {"status": "contacted"}


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (("create", "t", "nothing"), Rejected, "there is no dataset 'nothing'"),
        (("create", "t", "leads", "--filter", "colour=red"), Rejected, "leads has no filter 'colour'"),
        (("create", "t", "leads", "--columns", "sum(price) as n"), Rejected, "there is no function 'sum'"),
        (("create", "t", "leads", "--format", "doc"), Rejected, "there is no format 'doc'"),
        (("create", "t", "leads", "--option", "locale=de", "--option", "profile=raw"), Rejected, "are for people"),
        (("create", "t", "leads", "--destination", "moon"), Rejected, "there is no destination 'moon'"),
        (("create", "t", "leads", "--share", "friends"), Rejected, "neither none nor everyone, nor roles"),
        (("create", "t", "leads", "--share", "service"), Rejected, "neither none nor everyone, nor roles"),
        (("create", "t", "audit_log"), Forbidden, "may not export audit_log"),
        (("create", "../t", "leads"), Rejected, "is no name for a template"),
        (("create", "a@example.com/t", "leads"), Rejected, "is no name for a template"),
        (("create", "t ", "leads"), Rejected, "is no name for a template"),
        (("create", "x" * 64, "leads"), Rejected, "is no name for a template"),
        (("edit", "leads", "--columns", "email as n,n"), Rejected, "leads has no column 'n'"),
        (("edit", "leads", "--rename", ""), Rejected, "is no name for a template"),
        (("run", "leads", "--filter", "colour=red"), Rejected, "leads has no filter 'colour'"),
        (("run", "leads", "--direct", "--no-wait"), Rejected, "goes with neither"),
        (("run", "none"), NotFound, "there is no template 'none'"),
    ],
)
def test_template_when_it_could_not_be_asked_for_then_not_saved_or_run(
    command: Command, arguments: tuple[str, ...], error: type[ExportError], told: str
) -> None:
    command(MANAGER, "create", "leads", *LEADS)
    with pytest.raises(error) as refused:
        command(MANAGER, *arguments)
    assert told in str(refused.value)
    [kept] = command(MANAGER, "list")["templates"]
    assert (kept["name"], kept["version"], kept["runs"]) == ("leads", 1, 0)


def test_template_when_changed_then_audited_without_the_values_of_its_filters(
    command: Command, settings: Settings
) -> None:
    made = command(MANAGER, "create", "leads", *LEADS, "--filter", f"ids={NAMED}")
    command(MANAGER, "edit", "leads", "--where", f"id eq {NAMED}", "--share", "admin")
    command(MANAGER, "run", "leads", "--no-wait")
    command(ADMIN, "delete", f"{MANAGER}/leads")
    entries = audited(settings)
    assert [entry[:3] for entry in entries] == [
        ("template_create", MANAGER, "leads"),
        ("template_edit", MANAGER, "leads"),
        ("request", MANAGER, "leads"),
        ("template_delete", ADMIN, "leads"),
    ]
    assert all(entry[3]["template"] == made["id"] for entry in entries)
    assert (entries[1][3]["version"], entries[1][3]["shared"]) == (2, ["admin"])
    assert NAMED not in str(entries)


def test_template_when_it_looks_for_what_others_may_not_see_then_its_values_are_not_told_to_them(
    command: Command,
) -> None:
    where = ("--where", "phone eq '+15550100123' or description contains Zoe", "--where", "price gt 10")
    filters = ("--filter", "keywords=Zoe", "--filter", "limit=5")
    command(ADMIN, "create", "leads", *LEADS, *filters, *where, "--share", "everyone")
    command(ADMIN, "create", "audit", "audit_log", "--filter", f"user={MANAGER}", "--share", "everyone")
    whole = command(ADMIN, "show", "leads")["conditions"]
    assert "+15550100123" in whole[0] and command(MANAGER, "show", "leads")["conditions"] == whole
    hidden = "(phone eq (not told) or description contains (not told))"
    shown = command(ANALYST, "show", "leads")
    assert shown["conditions"] == [hidden, "price gt 10"]
    assert shown["filters"] == {"status": "new", "keywords": "(not told)", "limit": "5"}
    listed = {item["name"]: item for item in command(OPERATOR, "list")["templates"]}
    assert listed["leads"]["conditions"] == [hidden, "price gt (not told)"]
    assert listed["audit"]["filters"] == {"user": "(not told)"}
    with pytest.raises(Forbidden, match="neither filtered nor ordered by phone"):
        command(ANALYST, "run", "leads", "--no-wait")
    assert command(MANAGER, "run", "leads", "--no-wait")["conditions"] == whole


def test_template_when_it_names_keys_of_json_that_may_be_personal_then_they_are_told_to_who_may_see_them(
    command: Command,
) -> None:
    where, properties = 'properties.opens."zoe@example.com" gt 1', 'path,opens."+15550100123"'
    asked = ("--where", where, "--filter", f"properties={properties}", "--share", "everyone")
    command(ADMIN, "create", "opens", "events", *asked)
    shown = {email: command(email, "show", "opens") for email in (ADMIN, ANALYST, OPERATOR)}
    assert (shown[ADMIN]["conditions"], shown[ADMIN]["filters"]) == ([where], {"properties": properties})
    hidden = ["properties.opens.(not told) gt (not told)"]
    assert shown[ANALYST]["conditions"] == shown[OPERATOR]["conditions"] == hidden
    assert shown[ANALYST]["filters"] == {"properties": "path,opens.(not told)"}
    assert shown[OPERATOR]["filters"] == {"properties": "(not told)"}


def test_export_when_by_somebody_elses_template_then_its_values_are_told_to_the_runner_nowhere(
    command: Command, engine: Engine
) -> None:
    filters = ("--filter", "keywords=Apartment", "--filter", "min_price=1", "--where", "description is_not_null")
    where = ("--where", "title not_contains Quintessa or price gt 10")
    command(MANAGER, "create", "words", *LEADS, *filters, *where, "--share", "everyone")
    hidden = {"status": "new", "keywords": "(not told)", "min_price": "1"}

    def told(email: str, *arguments: str) -> str:
        done = CliRunner().invoke(commands, [*arguments, "--as", email, "--json"])
        assert done.exit_code == 0, done.output
        return done.stdout

    ran = command(ANALYST, "run", "words", "--no-wait")
    done = command(ANALYST, "run", "words", "--direct", "--destination", "local", "--format", "csv")
    assert ran["filters"] == done["filters"] == hidden
    listed = told(ANALYST, "list")
    shown = [told(ANALYST, "show", ran["id"]), told(ANALYST, "show", done["id"])]
    folder = Path(done["files"][0]["url"].removeprefix("file://")).parent
    manifests = [path.read_text() for path in folder.glob("*manifest*.json")]
    printed = [json.dumps(ran), json.dumps(done), listed, *shown, told(ANALYST, "cancel", ran["id"]), *manifests]
    assert manifests and not any(word in text for text in printed for word in ("Apartment", "Quintessa"))
    assert json.loads(listed)["exports"][0]["conditions"][0] == "description is_not_null"
    # The export itself looks for them; its owner and administrators see what they look for.
    job = engine.jobs.get(done["id"])
    assert job is not None and job.request.filters["keywords"] == "Apartment"
    assert "Quintessa" in told(ADMIN, "show", done["id"])
    assert command(MANAGER, "run", "words", "--no-wait")["filters"]["keywords"] == "Apartment"
    own = ("--filter", "keywords=Apartment", "--no-wait")
    assert json.loads(told(ANALYST, "export", "leads", *own))["filters"] == {"keywords": "Apartment"}
    command(MANAGER, "delete", "words")
    assert json.loads(told(ANALYST, "show", done["id"]))["filters"] == hidden


def test_reason_when_given_with_a_template_then_no_run_has_it(command: Command, settings: Settings) -> None:
    made = command(MANAGER, "create", "leads", *LEADS, "--reason", "TICKET-1", "--share", "everyone")
    command(MANAGER, "edit", "leads", "--reason", "TICKET-2", "--sort", "price")
    assert "reason" not in made
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as ledger:
        # As templates were held before.
        ledger.execute("""UPDATE exports.templates SET request = request || '{"reason": "TICKET-0"}'""")
    assert command(ANALYST, "run", "leads", "--no-wait")["reason"] == ""
    assert command(ANALYST, "run", "leads", "--reason", "TICKET-3", "--no-wait")["reason"] == "TICKET-3"
    told = [detail.get("purpose") for _, _, _, detail in audited(settings)]
    assert told == ["TICKET-1", "TICKET-2", None, "TICKET-3"]


def test_templates_when_shown_to_people_then_what_differs_from_what_is_usual(command: Command) -> None:
    command(MANAGER, "create", "leads", *LEADS, "--columns", 'title as "[red]title"')
    shown = CliRunner().invoke(commands, ["template", "show", "leads", "--as", MANAGER]).stdout
    assert f"{MANAGER}/leads" in shown and 'title as "[red]title"' in shown and "status=new" in shown
    assert "destination" not in shown
    assert "leads" in CliRunner().invoke(commands, ["template", "list", "--as", MANAGER]).stdout


def test_template_when_its_runner_loses_the_role_then_it_gives_nothing(
    command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = settings.database_url.get_secret_value()
    monkeypatch.setenv("EXPORT_SOURCE_URL", url)
    with psycopg.connect(url, autocommit=True) as source:
        source.execute(SCHEMA.read_bytes())
        source.execute("INSERT INTO users (email, username, role) VALUES (%s, 'm', 'campaign_manager')", [MANAGER])
        command(MANAGER, "create", "leads", *LEADS, "--share", "everyone")
        command(MANAGER, "run", "leads", "--no-wait")
        source.execute("UPDATE users SET role = 'operator'")
        with pytest.raises(Forbidden, match="the role operator may not export leads"):
            command(MANAGER, "run", "leads", "--no-wait")
        source.execute("DELETE FROM users")
        for verb in ("list", "show", "run"):
            with pytest.raises(Forbidden, match="is not a user with a role"):
                command(MANAGER, verb, *(["leads"] if verb != "list" else []))
