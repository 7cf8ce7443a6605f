"""Between a row of `exports.export_jobs` and an `ExportJob`."""

from collections.abc import Collection
from typing import Any

from psycopg.rows import DictRow

from export_pipeline.model.condition import comparisons_of, parse_condition
from export_pipeline.model.job import ExportFile, ExportJob, ExportRequest, Phase, Status
from export_pipeline.model.package import members_in
from export_pipeline.model.verification import Verification, Verify

#: Columns that a job takes as they are.
_AS_THEY_ARE = (
    "attempt",
    "created_at",
    "requester_id",
    "owner_id",
    "rows_done",
    "rows_estimated",
    "bytes",
    "truncated",
    "snapshot_at",
    "heartbeat_at",
    "cancel_requested_at",
    "dagster_run_id",
    "error",
    "error_kind",
    "started_at",
    "completed_at",
    "expires_at",
)


def job_of(row: DictRow) -> ExportJob:
    """The job that a row holds."""
    request = ExportRequest(
        dataset=row["dataset"],
        requested_by=row["requested_by"],
        filters=row["filters"],
        columns=tuple(row["columns"]),
        conditions=tuple(row["conditions"]),
        sort=tuple(row["sort"]),
        truncate=row["truncate"],
        contact_info=row["contact_info"],
        masks=row["masks"],
        recipient=row["recipient"],
        reason=row["reason"],
        since=row["since"],
        template_id=str(row["template_id"]) if row["template_id"] else None,
        format=row["format"],
        options=row["options"],
        destination=row["destination"],
        not_before=row["not_before"],
        recurring=row["recurring"],
        verify=Verify(row["verify"]) if row["verify"] else None,
    )
    return ExportJob(
        id=str(row["id"]),
        request=request,
        status=Status(row["status"]),
        phase=Phase(row["phase"]) if row["phase"] else None,
        verification=Verification(row["verification"]) if row["verification"] else None,
        files=tuple(ExportFile.of(file) for file in row["files"]),
        **{name: row[name] for name in _AS_THEY_ARE},
    )


def asked(request: ExportRequest, names: Collection[str] = ()) -> dict[str, Any]:
    """What was asked for, for the audit log: the names of filters and of columns in conditions, not their values; and
    why. `names` are what its datasets are called in it; none: as it names them itself, which a ready-made package does
    not."""
    names = names or {member.name for member in members_in(request.dataset)}
    extra = {
        "purpose": request.reason.strip(),
        "recipient": request.recipient.strip(),
        "masks": dict(request.masks),
        "template": request.template_id or "",
        "contact_info": None if request.contact_info else False,
    }
    return {
        "filters": sorted(request.filters),
        "conditions": sorted({name for text in request.conditions for name in _columns_of(text, names)}),
        "sort": list(request.sort),
        "truncate": request.truncate,
        "columns": list(request.columns),
        "format": request.format,
        "destination": request.destination,
        **{name: value for name, value in extra.items() if value not in ("", None, {})},
    }


def _columns_of(condition: str, names: Collection[str]) -> set[str]:
    """The columns that a condition looks at, after their dataset's name where it has that. What lies in JSON is not
    named: keys may be personal."""
    paths = [item.path for item in comparisons_of(parse_condition(condition))]
    return {".".join(path[:2] if path[0] in names else path[:1]) for path in paths}
