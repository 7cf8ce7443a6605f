"""Which failures are worth an alert, and telling them: by e-mail, by a webhook, or else in the log alone.

They are found in the audit log, so that it does not matter which door an export came in by, nor whether its worker
lived to say that it failed. Each way of telling keeps its own place, so that one that does not work repeats nothing on
another.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydantic import SecretStr

from export_pipeline.flow.alert_message import TEST_MESSAGE, Alert, Message, dataset_names, message_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.mail import send_mail
from export_pipeline.flow.webhook import post_message
from export_pipeline.ledger.audit import Failure
from export_pipeline.model.errors import ErrorKind, ExportError, Rejected
from export_pipeline.model.mark import Mark
from export_pipeline.settings import Settings

#: What went wrong on our side; of recurring exports, which nobody sits before, whatever went wrong. A transient error
#: ends an export only after its last attempt.
ALERTED = (ErrorKind.BROKEN, ErrorKind.TRANSIENT)
#: As many are told at once; the others at the next look.
_MOST = 500
#: What the keys of alerts about exports begin with; the rest is the audit entry's id.
_KEY = "export:"

#: Alerts from elsewhere, since a moment.
Others = Callable[[datetime], Sequence[Alert]]


@dataclass(frozen=True)
class Way:
    """A way to tell. `send` raises Transient, Broken."""

    name: str
    send: Callable[[Message], None]


@dataclass(frozen=True)
class Told:
    """What came of a look: where the next one goes on, a sentence, and lines for the log with their levels."""

    cursor: str
    summary: str
    lines: tuple[tuple[int, str], ...]


def alerts_since(engine: Engine, moment: datetime, known: Sequence[str]) -> list[Alert]:
    """What failed since then and is worth an alert, oldest first, but for the keys that are known. Raises Transient,
    Broken."""
    ids = [int(key.removeprefix(_KEY)) for key in known if key.startswith(_KEY)]
    return [_alert(item) for item in engine.audit.failures(moment, kinds=ALERTED, known=ids, limit=_MOST)]


def tell_failures(engine: Engine, cursor: str | None, others: Others) -> Told:
    """Tells what failed since the last look, each way in one message. A way's place moves on only once it has told;
    until then it is tried again at every look. Raises Transient, Broken where the ledger cannot be read."""
    marks = {name: Mark.parse(mark) for name, mark in json.loads(cursor or "{}").items()}
    now = engine.audit.now()
    lines: list[tuple[int, str]] = []
    done: list[str] = []
    following: dict[str, Mark] = {}
    for way in ways(engine.settings) or [Way("log", lambda message: lines.append(_line(message)))]:
        mark = marks.get(way.name) or Mark.first(now)
        found = _found(engine, mark, others)
        following[way.name] = mark
        if found:
            try:
                way.send(message_of(found, engine.settings.dagster_url))
            except ExportError as error:
                done.append(f"{way.name}: {len(found)} not told, to be tried again: {error}")
                continue
            done.append(f"{way.name}: {len(found)} told")
            lines.append((logging.INFO, f"told by {way.name}: {', '.join(map(_id, found))}"))
        # Where there were too many, those that are left came after the last that was told.
        until = found[-1].at if len(found) == _MOST else now
        following[way.name] = mark.moved({alert.key: alert.at for alert in found}, until)
    told = json.dumps({name: mark.document for name, mark in following.items()})
    return Told(told, "; ".join(done) or "nothing failed", tuple(lines))


def tell_test(settings: Settings) -> dict[str, ExportError | None]:
    """Sends a test message each way that is set up. Returns, by the way's name, why it could not be sent, or None.
    Raises Rejected where no way is set up."""
    found = ways(settings)
    if not found:
        raise Rejected(
            "no way to tell alerts is set up: set EXPORT_ALERT_TO with EXPORT_SMTP_URL and EXPORT_ALERT_FROM for "
            "e-mail, or EXPORT_ALERT_WEBHOOK (docs/alerts.md)"
        )
    outcome: dict[str, ExportError | None] = {}
    for way in found:
        outcome[way.name] = None
        try:
            way.send(TEST_MESSAGE)
        except ExportError as error:
            outcome[way.name] = error
    return outcome


def ways(settings: Settings) -> list[Way]:
    """The ways to tell that are set up."""
    found = []
    if settings.smtp_url and settings.alert_from and settings.alert_recipients:
        send = partial(_mail, settings.smtp_url, settings.alert_from, settings.alert_recipients)
        found.append(Way("mail", send))
    if settings.alert_webhook:
        found.append(Way("webhook", partial(post_message, settings.alert_webhook)))
    return found


def _mail(url: SecretStr, sender: str, recipients: tuple[str, ...], message: Message) -> None:
    send_mail(url, message, sender=sender, recipients=recipients)


def _line(message: Message) -> tuple[int, str]:
    return logging.ERROR if message.urgent else logging.WARNING, message.text


def _id(alert: Alert) -> str:
    return alert.export_id or alert.run_id or alert.key


def _alert(failure: Failure) -> Alert:
    job, request = failure.job, failure.job.request
    kind = "recurring export of " if request.recurring else ""
    template = f", by template {request.template_id}" if request.template_id else ""
    return Alert(
        key=f"{_KEY}{failure.entry_id}",
        at=failure.at,
        what=f"{kind}{dataset_names(request.dataset)} as {request.format}{template}",
        error=failure.message,
        urgent=failure.unproven,
        export_id=job.id,
        attempt=failure.attempt,
        requested_by=request.requested_by,
        # A further attempt has a run of its own.
        run_id=job.dagster_run_id if job.attempt == failure.attempt else None,
    )


def _found(engine: Engine, mark: Mark, others: Others) -> list[Alert]:
    found = alerts_since(engine, mark.since, list(mark.known))
    found += [alert for alert in others(mark.since) if alert.key not in mark.known and alert.at >= mark.since]
    return sorted(found, key=lambda alert: alert.at)[:_MOST]
