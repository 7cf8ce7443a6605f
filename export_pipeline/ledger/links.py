"""The links that go through our door. Their tokens never get here: a link is known by the SHA-256 of its token.

Every change is one transaction with its audit entry. A use is counted before anything is handed out, so that the log
may know of a download that did not come to pass, and never misses one that did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import DictRow

from export_pipeline.ledger.audit import Action, event_of, record
from export_pipeline.ledger.database import Connection, Database
from export_pipeline.ledger.rows import job_of
from export_pipeline.model.job import ExportJob, Status


@dataclass(frozen=True)
class NewLink:
    """A link that is to be issued: the SHA-256 of its token, the key of the file that it leads to, and what that is
    saved as."""

    token_sha256: bytes
    key: str
    filename: str


@dataclass(frozen=True)
class IssuedLink:
    """One row of `exports.links`, without what it is found by. `issued_to` is an e-mail address."""

    id: int
    export_id: str
    key: str
    filename: str
    issued_to: str
    issued_at: datetime
    expires_at: datetime
    uses: int
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None


class Links:
    """The rows of `exports.links`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, job: ExportJob, links: Sequence[NewLink], *, actor: str, expires_at: datetime) -> list[IssuedLink]:
        """Records links to an export's files, and that they were handed to the actor."""
        with self._database.transaction() as connection:
            issued = [_issue(connection, job, link, actor, expires_at) for link in links]
            ids = [link.id for link in issued]
            record(connection, event_of(job, Action.LINK, actor, expires_at=expires_at.isoformat(), links=ids))
            return issued

    def use(self, token_sha256: bytes) -> tuple[IssuedLink, ExportJob] | None:
        """Counts a use of the link, where it may be used: it is neither revoked nor expired, and its export has its
        files. Else None; of a link that was issued the audit log then says why."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                UPDATE exports.links AS link SET uses = uses + 1, last_used_at = clock_timestamp()
                FROM exports.export_jobs AS job
                WHERE link.token_sha256 = %(token)s AND link.revoked_at IS NULL AND link.expires_at > clock_timestamp()
                    AND job.id = link.export_id AND job.status = 'completed'
                RETURNING link.*
                """,
                {"token": token_sha256},
            ).fetchone()
            if row is None:
                _refuse(connection, token_sha256)
                return None
            link, job = _link(row), _job(connection, row)
            event = event_of(job, Action.LINK_USED, link.issued_to, link=link.id, file=link.filename, uses=link.uses)
            record(connection, event)
            return link, job

    def revoke(self, job: ExportJob, *, actor: str) -> list[IssuedLink]:
        """Ends all links to an export's files that still work; returns those."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                """
                UPDATE exports.links SET revoked_at = clock_timestamp(), revoked_by = %(actor)s
                WHERE export_id = %(id)s AND revoked_at IS NULL AND expires_at > clock_timestamp() RETURNING *
                """,
                {"id": job.id, "actor": actor},
            ).fetchall()
            revoked = sorted((_link(row) for row in rows), key=lambda link: link.id)
            if revoked:
                record(connection, event_of(job, Action.LINK_REVOKED, actor, links=[link.id for link in revoked]))
            return revoked

    def of_export(self, export_id: str) -> list[IssuedLink]:
        """All links to an export's files that were ever issued, the newest first."""
        rows = self._database.rows(
            "SELECT * FROM exports.links WHERE export_id = %(id)s ORDER BY id DESC", {"id": export_id}
        )
        return [_link(row) for row in rows]


def _issue(connection: Connection, job: ExportJob, link: NewLink, actor: str, expires_at: datetime) -> IssuedLink:
    row = connection.execute(
        """
        INSERT INTO exports.links (token_sha256, export_id, key, filename, issued_to, expires_at)
        VALUES (%(token)s, %(export_id)s, %(key)s, %(filename)s, %(issued_to)s, %(expires_at)s) RETURNING *
        """,
        {
            "token": link.token_sha256,
            "export_id": job.id,
            "key": link.key,
            "filename": link.filename,
            "issued_to": actor,
            "expires_at": expires_at,
        },
    ).fetchone()
    assert row is not None
    return _link(row)


def _refuse(connection: Connection, token_sha256: bytes) -> None:
    """Records that somebody tried a link that no longer works. One that was never issued leaves no trace."""
    row = connection.execute(
        "SELECT * FROM exports.links WHERE token_sha256 = %(token)s", {"token": token_sha256}
    ).fetchone()
    if row is None:
        return
    link, job = _link(row), _job(connection, row)
    if link.revoked_at is not None:
        reason = f"the link was revoked by {link.revoked_by}"
    elif job.status is not Status.COMPLETED:
        reason = f"the export is {job.status.value}"
    else:
        reason = "the link has expired"
    record(
        connection,
        event_of(job, Action.LINK_REFUSED, link.issued_to, reason, link=link.id, file=link.filename),
    )


def _job(connection: Connection, link: DictRow) -> ExportJob:
    row = connection.execute(
        "SELECT * FROM exports.export_jobs WHERE id = %(id)s", {"id": link["export_id"]}
    ).fetchone()
    assert row is not None
    return job_of(row)


def _link(row: DictRow) -> IssuedLink:
    values = {name: row[name] for name in IssuedLink.__dataclass_fields__}
    return IssuedLink(**(values | {"export_id": str(row["export_id"])}))
