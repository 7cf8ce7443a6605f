"""Links to an export's files: hand them out, follow them, end them, and tell what became of them.

Where EXPORT_LINK_URL is set a link leads to our door (`web/`), so that each use is known and links can be revoked;
else it is presigned by the store, which nobody can take back. A token is 32 random bytes; only its SHA-256 is kept, and
it is in nothing but the link itself.
"""

import hashlib
import math
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from export_pipeline.flow.authorize import ENDING, Grant, authorize_job, refusals_audited
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.order import make_order
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import authorize_order
from export_pipeline.ledger.links import IssuedLink, NewLink
from export_pipeline.model.access import Scope
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportJob, Status
from export_pipeline.model.masking import AT_LEAST

_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
#: How long the address works that a link of ours leads to (seconds): as long as a browser needs to follow it.
_REDIRECT_SECONDS = 60


@dataclass(frozen=True, repr=False)
class Link:
    """Addresses that let their holder download the files, by name, `url` the first; whoever has them has the data, so
    this has no repr."""

    url: str
    urls: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, repr=False)
class Followed:
    """What a link leads to: a presigned `address` (secret, so this has no repr), or, where the destination has none,
    the file itself in `chunks`. `size` is in bytes."""

    link: IssuedLink
    media_type: str
    size: int
    address: str | None
    chunks: Iterator[bytes | memoryview]


@dataclass(frozen=True)
class Presigned:
    """The links to an export's files that were presigned by the store and still work: how many, and until when the last
    of them does (None: there are none)."""

    count: int
    until: datetime | None


def issue_link(engine: Engine, email: str, export_id: str) -> Link:
    """A new link to each of the export's files, audited. Raises Forbidden, NotFound, and Rejected where there
    is no file to link to.

    Whoever may no longer read the data gets no link to what they took out when they might.
    """
    principal, job = authorize_job(engine, email, export_id)
    if job.status is not Status.COMPLETED:
        raise Rejected(
            _NO_LINK.get(job.status, "the export {id} is {status}: there is no file yet").format(
                id=job.id, status=job.status.value
            )
        )
    with refusals_audited(engine, principal.email, job.request.dataset, job.id):
        _, grants = authorize_order(engine, principal, make_order(engine, job.request, job.created_at))
        for grant in grants:
            _refuse_what_is_hidden_now(engine, job, grant)
    now = datetime.now(UTC)
    left = (job.expires_at - now).total_seconds() if job.expires_at else engine.settings.url_ttl_seconds
    seconds = int(min(engine.settings.url_ttl_seconds, left))
    if seconds < 1:
        raise Rejected(f"the export {job.id} has expired; ask for it again")
    destination = engine.destination(job.request.destination)
    keys = {file.key.rpartition("/")[2]: file.key for file in job.files}
    for name, key in keys.items():
        if destination.stat(key) is None:
            raise Rejected(f"the file {name} is gone from its destination; ask for the export again")
    expires_at = now + timedelta(seconds=seconds)
    if engine.settings.link_url:
        tokens = {name: secrets.token_urlsafe(_TOKEN_BYTES) for name in keys}
        new = [NewLink(_hash(tokens[name]), key, name) for name, key in keys.items()]
        engine.links.issue(job, new, actor=principal.email, expires_at=expires_at)
        urls = {name: f"{engine.settings.link_url}/links/{token}" for name, token in tokens.items()}
    else:
        urls = {name: destination.link(key, ttl_seconds=seconds, filename=name) for name, key in keys.items()}
        engine.audit.link(job, actor=principal.email, expires_at=expires_at)
    return Link(url=next(iter(urls.values())), urls=urls, expires_at=expires_at)


def follow_link(engine: Engine, token: str) -> Followed | None:
    """Counts a use of the link and tells where it leads; None where it leads nowhere: it was never issued, is revoked
    or expired, or its export has ended. Raises Transient, Broken, Rejected where that cannot be found out."""
    if not _TOKEN.fullmatch(token):
        return None
    used = engine.links.use(_hash(token))
    if used is None:
        return None
    link, job = used
    destination = engine.destination(job.request.destination)
    stored = destination.stat(link.key)
    if stored is None:
        return None
    left = (link.expires_at - datetime.now(UTC)).total_seconds()
    seconds = max(1, min(_REDIRECT_SECONDS, math.floor(left)))
    address = destination.link(link.key, ttl_seconds=seconds, filename=link.filename)
    media_type = next(file.media_type for file in job.files if file.key == link.key)
    redirects = address.startswith(("https://", "http://"))
    return Followed(link, media_type, stored.bytes, address if redirects else None, destination.read(link.key))


def list_links(engine: Engine, email: str, export_id: str) -> list[IssuedLink]:
    """The links through our door to an export's files, the newest first; for its requester, administrators and whoever
    answers for the rules. Raises Forbidden, NotFound."""
    _, job = authorize_job(engine, email, export_id, roles=ENDING)
    return engine.links.of_export(job.id)


def revoke_links(engine: Engine, email: str, export_id: str) -> list[IssuedLink]:
    """Ends the links through our door to an export's files, for the same people; audited. Returns those that worked
    until now. What was presigned cannot be revoked: see `presigned_links`. Raises Forbidden, NotFound."""
    principal, job = authorize_job(engine, email, export_id, roles=ENDING)
    return engine.links.revoke(job, actor=principal.email)


def presigned_links(engine: Engine, email: str, export_id: str) -> Presigned:
    """What nobody can revoke, for the same people: whoever has these links has the files, until the links expire or the
    files are gone. Raises Forbidden, NotFound."""
    _, job = authorize_job(engine, email, export_id, roles=ENDING)
    # The address of a file in a folder opens nothing to whoever cannot see the folder.
    stored = [file for file in job.files if not file.url.startswith("file://")]
    times = engine.audit.links_past_the_door(job.id) if job.status is Status.COMPLETED and stored else []
    return Presigned(len(times) * len(stored), times[-1] if times else None)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _refuse_what_is_hidden_now(engine: Engine, job: ExportJob, grant: Grant) -> None:
    """The file was made for what its requester might have then; whoever asks now may have to do with less. Raises
    Forbidden."""
    selection = grant.selection
    rule = selection.dataset.owner
    all_checked = rule is not None and rule.filter in selection.values
    narrowed = grant.scope is Scope.OWN and not all_checked
    if not narrowed and not selection.left_out and not selection.masks:
        return
    made = read_manifest(engine.destination(job.request.destination), job)
    left_out = {column.name for column in selection.left_out}
    for part in made.get("datasets", [made]):
        if part["dataset"] != selection.dataset.name:
            continue
        policies = {column["name"]: column.get("mask", {}).get("policy") for column in part["columns"]}
        hidden = left_out & policies.keys()
        plainer = [
            mask.column.name
            for mask in selection.masks
            if mask.column.name in policies and policies[mask.column.name] not in AT_LEAST[mask.policy]
        ]
        if hidden or plainer or (narrowed and part.get("scope") != Scope.OWN):
            raise Forbidden(
                f"the file of the export {job.id} holds more than you may have now; ask for the export again"
            )


_NO_LINK = {
    Status.FAILED: "the export {id} failed: there is no file; see why with `show`, try again with `retry`",
    Status.CANCELLED: "the export {id} was cancelled: there is no file; try again with `retry`",
    Status.EXPIRED: "the export {id} has expired and its files were deleted; ask for it again",
}
