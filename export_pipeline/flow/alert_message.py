"""What an alert says: what failed, when, why, and what to do. No filter's value, no link to a file, no secret."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from export_pipeline.model.package import members_in

#: How many alerts one message tells of; the others are counted.
MOST_TOLD = 20
#: How much of an error's text is told (characters).
_MOST_ERROR = 300
_URGENT = "its file was read back and is not what was read from the source"


@dataclass(frozen=True)
class Alert:
    """Something that failed and that somebody must look at: an export, or a scheduled run as a whole. `key` tells it
    from all others; `what` names it; `urgent`: a finished file was not what was read from the source."""

    key: str
    at: datetime
    what: str
    error: str
    urgent: bool = False
    export_id: str | None = None
    attempt: int | None = None
    requested_by: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Message:
    """What is sent: `text` for people, `facts` for programs, as JSON holds them."""

    subject: str
    text: str
    urgent: bool = False
    facts: Sequence[dict[str, Any]] = field(default=())


TEST_MESSAGE = Message(
    subject="[export-pipeline] A test of alerts",
    text="This is a test, sent by `export-pipeline alerts test`. Alerts about exports will arrive here.",
)


def message_of(alerts: Sequence[Alert], dagster_url: str | None) -> Message:
    """One message about all of them, the urgent ones first. With the address of Dagster's web server it leads to the
    runs."""
    ordered = sorted(alerts, key=lambda alert: (not alert.urgent, alert.at))
    told, more = ordered[:MOST_TOLD], len(ordered[MOST_TOLD:])
    subject = _subject(ordered)
    parts = [subject, *(_paragraph(alert, dagster_url) for alert in told)]
    if more:
        parts.append(f"… and {more} more: `export-pipeline list --status failed --as EMAIL` lists the exports.")
    return Message(
        subject=f"[export-pipeline] {subject}",
        text="\n\n".join(parts),
        urgent=ordered[0].urgent,
        facts=[_facts(alert, dagster_url) for alert in told],
    )


def dataset_names(dataset: str) -> str:
    """The names of the datasets that are asked for, without the names that somebody gave to their parts."""
    return ", ".join(dict.fromkeys(member.dataset for member in members_in(dataset)))


def _subject(alerts: Sequence[Alert]) -> str:
    urgent = sum(alert.urgent for alert in alerts)
    if len(alerts) == 1:
        return f"{'URGENT: a file is not what was read' if urgent else 'Failed'}: {alerts[0].what}"
    files = "a file is not what was read" if urgent == 1 else f"{urgent} files are not what was read"
    return f"URGENT: {files}, among {len(alerts)} failures" if urgent else f"{len(alerts)} failures"


def _paragraph(alert: Alert, dagster_url: str | None) -> str:
    lines = [
        f"{'URGENT: ' if alert.urgent else ''}{alert.what}" + (f": {_URGENT}" if alert.urgent else ""),
        f"  when: {alert.at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}",
        f"  why: {_shortened(alert.error)}",
    ]
    if alert.export_id:
        lines += [
            f"  export: {alert.export_id}, attempt {alert.attempt}, asked for by {alert.requested_by}",
            f"  what to do: `export-pipeline show {alert.export_id} --as EMAIL`, then"
            f" `export-pipeline retry {alert.export_id} --as EMAIL`",
        ]
    if alert.run_id:
        lines.append(f"  run: {_run(alert.run_id, dagster_url)}")
    return "\n".join(lines)


def _facts(alert: Alert, dagster_url: str | None) -> dict[str, Any]:
    return {
        "what": alert.what,
        "urgent": alert.urgent,
        "at": alert.at.astimezone(UTC).isoformat(),
        "error": _shortened(alert.error),
        "export_id": alert.export_id,
        "attempt": alert.attempt,
        "requested_by": alert.requested_by,
        "run": _run(alert.run_id, dagster_url) if alert.run_id else None,
    }


def _run(run_id: str, dagster_url: str | None) -> str:
    return f"{dagster_url}/runs/{run_id}" if dagster_url else run_id


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_ERROR else f"{line[: _MOST_ERROR - 1]}…"
