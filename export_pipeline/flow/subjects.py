"""A person asks to be forgotten: which live exports hold them, who took those out, and the end of those.

It looks at the index beside each export (`subject_index.py`); exports without one are named, so that nobody takes
silence for an answer. The source's own rows and the extracts of nightly runs are not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from export_pipeline.flow.authorize import identify, refusals_audited
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.retention import expire_export, folders_of
from export_pipeline.flow.subject_index import look_up
from export_pipeline.flow.subject_key import SubjectKey, hashes_of_subject
from export_pipeline.ledger.audit import Action
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.errors import ExportError, Forbidden, Rejected, Superseded
from export_pipeline.model.job import ExportJob

_ROLES = (Role.COMPLIANCE, Role.ADMIN)
#: So many indexes are read at the same time.
_THREADS = 8


@dataclass(frozen=True)
class Holding:
    """A live export that holds the person. `links_to` are the e-mail addresses of those who were handed links,
    `link_uses` how often those were used that go through our door; of others that is not known."""

    job: ExportJob
    links_to: tuple[str, ...]
    link_uses: int


@dataclass
class SubjectReport:
    """What was found: the exports that hold the person, those that hold no index that can be read (ids), those that
    are being made (ids: look again), and what could not be looked at or expired. `expired` are ids."""

    searched: int = 0
    holdings: list[Holding] = field(default_factory=list)
    without_index: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def find_subject(engine: Engine, email: str, subject: str, *, reason: str = "") -> SubjectReport:
    """Looks through all live exports, for compliance and administrators; audited, with the person's keyed hash instead
    of their name. Raises Forbidden, and Rejected where no index is kept or nobody is named."""
    principal = _permitted(engine, email)
    wanted = _wanted(engine, subject)
    report = _search(engine, wanted)
    detail = {"subject": _told(wanted), "found": [holding.job.id for holding in report.holdings]}
    engine.audit.search(actor=principal.email, reason=reason, detail=detail)
    return report


def expire_subject(engine: Engine, email: str, subject: str, *, reason: str) -> SubjectReport:
    """Looks as `find_subject` does, and ends each export that holds the person: files and index are deleted, links
    lead nowhere, the row is expired. Each is audited with the reason. Raises as `find_subject` does, and Rejected
    without a reason; one that cannot be deleted holds up none of the others."""
    principal = _permitted(engine, email)
    if not reason.strip():
        raise Rejected("say why with --reason: the request that the person made, a ticket; it goes into the audit log")
    report = find_subject(engine, email, subject, reason=reason)
    told = _told(_wanted(engine, subject))
    for holding in report.holdings:
        try:
            expire_export(engine, holding.job, actor=principal.email, reason=reason, subject=told)
            report.expired.append(holding.job.id)
        except Superseded:
            continue  # expired by somebody else in the meantime
        except ExportError as error:
            report.errors.append(f"{holding.job.id}: {error}")
    return report


def _permitted(engine: Engine, email: str) -> Principal:
    principal = identify(engine, email)
    if principal.role not in _ROLES:
        roles = " and ".join(_ROLES)
        with refusals_audited(engine, principal.email):
            raise Forbidden(
                f"the role {principal.role} may not look for people in everybody's exports; these may: {roles}"
            )
    return principal


def _wanted(engine: Engine, subject: str) -> dict[bytes, list[int]]:
    """The person's hashes, by the ids of our keys, the current one first."""
    keys = [SubjectKey(secret) for secret in engine.settings.subject_keys]
    if not keys:
        raise Rejected("there is no index of people: set EXPORT_SUBJECT_KEY; exports made from then on have one")
    return {key.id: hashes_of_subject(key, subject) for key in keys}


def _told(wanted: Mapping[bytes, Sequence[int]]) -> list[str]:
    """The person for the audit log: hashes by the current key."""
    return [f"{number:016x}" for number in next(iter(wanted.values()))]


def _search(engine: Engine, wanted: dict[bytes, list[int]]) -> SubjectReport:
    report = SubjectReport(running=[job.id for job in engine.jobs.running()])
    with ThreadPoolExecutor(_THREADS) as threads:
        for page in _live(engine):
            for job, answer in zip(page, threads.map(lambda job: _look(engine, job, wanted), page), strict=True):
                if isinstance(answer, ExportError):
                    report.errors.append(f"{job.id}: {answer}")
                elif answer is None:
                    report.without_index.append(job.id)
                else:
                    report.searched += 1
                if answer is True:
                    report.holdings.append(_holding(engine, job))
    return report


def _live(engine: Engine) -> Iterator[list[ExportJob]]:
    page = engine.jobs.live()
    while page:
        yield page
        page = engine.jobs.live(after=page[-1].id)


def _look(engine: Engine, job: ExportJob, wanted: dict[bytes, list[int]]) -> bool | ExportError | None:
    """Whether an export holds the person; None where it has no index that one of our keys opens."""
    try:
        destination = engine.destination(job.request.destination)
        answers = [look_up(destination, folder, wanted) for folder in folders_of(job)]
    except ExportError as error:
        return error
    if any(answer.found for answer in answers):
        return True
    return False if all(answer.readable for answer in answers) else None


def _holding(engine: Engine, job: ExportJob) -> Holding:
    events = [entry.event for entry in engine.audit.of(job.id)]
    links_to = dict.fromkeys(event.actor for event in events if event.action is Action.LINK)
    return Holding(job, tuple(links_to), sum(event.action is Action.LINK_USED for event in events))
