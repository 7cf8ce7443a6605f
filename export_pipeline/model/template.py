"""A template: an export that was asked for once and has a name, to be asked for again. It gives nobody any right."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from export_pipeline.model.access import Role
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.verification import Verify

#: Stands among roles for all who may ask for anything at all.
EVERYONE = "everyone"

#: What each run says anew (a reason is that of one export), or what is no person's to say.
_OF_A_RUN = frozenset({"requested_by", "reason", "not_before", "recurring", "template_id"})
#: The fields of a request that a template holds.
HELD = tuple(field.name for field in fields(ExportRequest) if field.name not in _OF_A_RUN)


@dataclass(frozen=True)
class Template:
    """One row of `exports.templates`. `shared` are the roles that may see and run it, or `everyone`; none: its owner
    alone. `version` grows with each change. `runs` counts the exports that were asked for by it."""

    id: str
    name: str
    owner_id: str
    owner_email: str
    shared: tuple[str, ...]
    request: ExportRequest
    version: int
    created_at: datetime
    updated_at: datetime
    runs: int = 0
    last_run_at: datetime | None = None

    @property
    def address(self) -> str:
        """Its name with its owner's, which no other template has."""
        return f"{self.owner_email}/{self.name}"


def document_of(request: ExportRequest) -> dict[str, Any]:
    """What a template holds of a request, as JSON."""
    held = {name: getattr(request, name) for name in HELD}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in held.items()}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def request_of(document: Mapping[str, Any]) -> ExportRequest:
    """The request that `document_of` wrote down, as nobody's. What is not held any more is forgotten."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items() if name in HELD
    }
    verify = values.pop("verify", None)
    return ExportRequest(requested_by="", verify=Verify(verify) if verify else None, **values)


def sharing(text: str) -> tuple[str, ...]:
    """Whom a template is shared with, from `none`, `everyone` or roles with commas between them. Raises ValueError."""
    if text == "none":
        return ()
    if text == EVERYONE:
        return (EVERYONE,)
    roles = {Role(name.strip()) for name in text.split(",")}
    if Role.SERVICE in roles:
        raise ValueError(text)
    return tuple(sorted(roles))
