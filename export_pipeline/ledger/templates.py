"""The templates: every change is one transaction with its audit entry, and is conditioned on the version that it
starts from. Who may see or change what is asked for here, and decided in `flow/templates.py`.
"""

from collections.abc import Collection
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from export_pipeline.ledger.audit import Action, AuditEvent, record
from export_pipeline.ledger.database import Connection, Database
from export_pipeline.ledger.rows import asked
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.errors import NotFound, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.template import EVERYONE, Template, document_of, request_of


class Templates:
    """The rows of `exports.templates`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def visible(self, principal: Principal, *, name: str | None = None, owner: str | None = None) -> list[Template]:
        """The templates that the person may see: their own, those shared with their role, for an administrator all; by
        name. With `name` and the address of an `owner` only those."""
        rows = self._database.rows(
            """
            SELECT template.*, used.runs, used.last_run_at
            FROM exports.templates AS template
            CROSS JOIN LATERAL (
                SELECT count(*) AS runs, max(created_at) AS last_run_at
                FROM exports.export_jobs WHERE template_id = template.id
            ) AS used
            WHERE (%(all)s OR owner_id = %(id)s OR shared && %(groups)s)
              AND (%(name)s::text IS NULL OR name = %(name)s)
              AND (%(owner)s::text IS NULL OR lower(owner_email) = lower(%(owner)s))
            ORDER BY name, owner_email
            """,
            {
                "all": principal.role is Role.ADMIN,
                "id": principal.id,
                "groups": [EVERYONE, principal.role.value],
                "name": name,
                "owner": owner,
            },
        )
        return [_template(row) for row in rows]

    def owned_by(self, principal: Principal, ids: Collection[str]) -> set[str]:
        """Which of the templates with these ids are the person's own."""
        rows = self._database.rows(
            "SELECT id FROM exports.templates WHERE owner_id = %(owner)s AND id = ANY(%(ids)s::uuid[])",
            {"owner": principal.id, "ids": list(ids)},
        )
        return {str(row["id"]) for row in rows}

    def add(self, owner: Principal, name: str, shared: tuple[str, ...], request: ExportRequest) -> Template:
        """Makes a template. Raises Rejected where its owner has one of that name."""
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                INSERT INTO exports.templates (name, owner_id, owner_email, shared, request)
                VALUES (%(name)s, %(owner_id)s, %(owner_email)s, %(shared)s, %(request)s)
                ON CONFLICT (owner_id, name) DO NOTHING
                RETURNING *
                """,
                {
                    "name": name,
                    "owner_id": owner.id,
                    "owner_email": owner.email,
                    "shared": list(shared),
                    "request": Jsonb(document_of(request)),
                },
            ).fetchone()
            if row is None:
                raise _taken(name)
            template = _template(row)
            _record(connection, Action.TEMPLATE_CREATE, owner.email, template, request)
            return template

    def change(
        self, template: Template, *, actor: str, name: str, shared: tuple[str, ...], request: ExportRequest
    ) -> Template:
        """Changes the template as it was seen. Raises Rejected where somebody changed it since, or where its owner has
        another one of the new name."""
        with self._database.transaction() as connection:
            try:
                row = connection.execute(
                    """
                    UPDATE exports.templates
                    SET name = %(name)s, shared = %(shared)s, request = %(request)s, version = version + 1,
                        updated_at = clock_timestamp()
                    WHERE id = %(id)s AND version = %(version)s RETURNING *
                    """,
                    {
                        "id": template.id,
                        "version": template.version,
                        "name": name,
                        "shared": list(shared),
                        "request": Jsonb(document_of(request)),
                    },
                ).fetchone()
            except UniqueViolation:
                raise _taken(name) from None
            if row is None:
                raise Rejected(
                    f"the template {template.name} was changed or deleted meanwhile (you saw version "
                    f"{template.version}); look at it again and repeat your change"
                )
            changed = _template(row)
            _record(connection, Action.TEMPLATE_EDIT, actor, changed, request)
            return changed

    def remove(self, template: Template, *, actor: str) -> None:
        """Deletes the template; what was exported by it stays. Raises NotFound where it is gone."""
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM exports.templates WHERE id = %(id)s RETURNING id", {"id": template.id}
            ).fetchone()
            if gone is None:
                raise NotFound(f"the template {template.name} is gone")
            _record(connection, Action.TEMPLATE_DELETE, actor, template, template.request)


def _taken(name: str) -> Rejected:
    return Rejected(f"you have a template {name!r} already; edit that one, or choose another name")


def _record(connection: Connection, action: Action, actor: str, template: Template, request: ExportRequest) -> None:
    """Adds the entry: names and numbers, of filters and conditions no value; and the reason that the request gives,
    which the template does not hold."""
    detail: dict[str, Any] = {
        "template": template.id,
        "name": template.name,
        "version": template.version,
        "shared": list(template.shared),
        **asked(request),
    }
    record(connection, AuditEvent(action, actor, None, template.request.dataset, "", detail))


def _template(row: DictRow) -> Template:
    return Template(
        id=str(row["id"]),
        name=row["name"],
        owner_id=row["owner_id"],
        owner_email=row["owner_email"],
        shared=tuple(row["shared"]),
        request=request_of(row["request"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        runs=row.get("runs", 0),
        last_run_at=row.get("last_run_at"),
    )
