"""A ledger on a real database, and short ways to bring a job into each state."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from export_pipeline.ledger.audit import AuditEntry, AuditLog
from export_pipeline.ledger.database import Database
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.ledger.leftovers import Leftovers
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.errors import ErrorKind
from export_pipeline.model.job import ExportFile, ExportJob, ExportRequest, Outcome, Phase

OWNER = Principal(id="owner-1", email="owner@example.com", username="owner", role=Role.OPERATOR)
OUTCOME = Outcome(
    files=(ExportFile(key="p/f.csv", url="s3://b/p/f.csv", bytes=30, sha256="0" * 64, rows=3, media_type="text/csv"),),
    snapshot_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
)


def request(**changes: Any) -> ExportRequest:
    """A request, with what the test changes in it."""
    usual = ExportRequest(dataset="campaign_results", requested_by=OWNER.email, filters={"campaign_id": "7"})
    return replace(usual, **changes)


@dataclass
class Ledger:
    """The parts under test, on one database."""

    url: str
    database: Database
    jobs: Jobs
    audit: AuditLog
    leftovers: Leftovers

    def file(self, asked: ExportRequest | None = None, *, claim_as: str | None = None) -> ExportJob:
        return self.jobs.file(
            asked or request(),
            requester=OWNER,
            owner_id=OWNER.id,
            reason="their own",
            claim_as=claim_as,
            prefix_of=lambda job: f"p/{job.id}/{job.attempt}/",
        )

    def claim(self, job: ExportJob) -> ExportJob:
        return self.jobs.claim(job.id, job.attempt, run_id="run", prefix=f"p/{job.id}/{job.attempt}/")

    def beat(self, job: ExportJob, *, phase: Phase = Phase.WRITING, rows_done: int = 1) -> bool:
        return self.jobs.beat(job.id, 1, phase=phase, rows_done=rows_done, rows_estimated=10, bytes_done=50)

    def processing(self) -> ExportJob:
        return self.claim(self.file())

    def completed(self) -> ExportJob:
        job = self.processing()
        self.jobs.publish(job.id, 1, OUTCOME)
        return self.jobs.complete(job.id, 1, expires_at=datetime.now(UTC) + timedelta(days=7) - timedelta(minutes=1))

    def failed(self) -> ExportJob:
        job = self.processing()
        return self.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="m", actor="a")

    def cancelled(self) -> ExportJob:
        job = self.processing()
        self.jobs.request_cancel(job.id, actor="a@example.com")
        return self.jobs.cancelled(job.id, 1, actor="a@example.com", reason="r")

    def get(self, job: ExportJob) -> ExportJob:
        found = self.jobs.get(job.id)
        assert found is not None
        return found

    def actions(self, job: ExportJob) -> list[str]:
        return [entry.event.action.value for entry in self.audit.of(job.id)]

    def last_entry(self, job: ExportJob) -> AuditEntry:
        return self.audit.of(job.id)[-1]

    def leftover_attempts(self) -> set[tuple[str, int]]:
        rows = self.database.rows("SELECT export_id::text, attempt FROM exports.leftovers")
        return {(row["export_id"], row["attempt"]) for row in rows}

    def ended_leftovers(self) -> set[tuple[str, int]]:
        return {(left.export_id, left.attempt) for left in self.leftovers.list()}
