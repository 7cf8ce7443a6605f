"""Who people are and how far their right to a dataset reaches."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The roles of the source's `users` table."""

    OPERATOR = "operator"
    CAMPAIGN_MANAGER = "campaign_manager"
    ANALYST = "analyst"
    COMPLIANCE = "compliance"
    ADMIN = "admin"
    SERVICE = "service"


class Scope(StrEnum):
    """How much of a dataset a role reaches."""

    OWN = "own"
    ALL = "all"


class Sensitivity(StrEnum):
    """How much harm a column could do outside."""

    PUBLIC = "public"
    INTERNAL = "internal"
    PERSONAL = "personal"
    SECRET = "secret"  # noqa: S105


_INTERNAL = frozenset({Sensitivity.PUBLIC, Sensitivity.INTERNAL})
_PERSONAL = _INTERNAL | {Sensitivity.PERSONAL}

#: What each role may see of the rows that it reaches, so that a new dataset needs no rule. Nobody sees what is secret.
#: Operators and managers see people's data in their own rows only.
VISIBLE: Mapping[Scope, Mapping[Role, frozenset[Sensitivity]]] = {
    Scope.OWN: {
        Role.OPERATOR: _PERSONAL,
        Role.CAMPAIGN_MANAGER: _PERSONAL,
        Role.ANALYST: _INTERNAL,
        Role.COMPLIANCE: _PERSONAL,
        Role.ADMIN: _PERSONAL,
        Role.SERVICE: _PERSONAL,
    },
    Scope.ALL: {
        Role.OPERATOR: _INTERNAL,
        Role.CAMPAIGN_MANAGER: _INTERNAL,
        Role.ANALYST: _INTERNAL,
        Role.COMPLIANCE: _PERSONAL,
        Role.ADMIN: _PERSONAL,
        Role.SERVICE: _PERSONAL,
    },
}


@dataclass(frozen=True)
class Principal:
    """A person, or a service of ours, on whose behalf something is done."""

    id: str
    email: str
    username: str
    role: Role


@dataclass(frozen=True)
class Decision:
    """Whether something is allowed, and why: the reason goes into the audit log."""

    allowed: bool
    reason: str


#: The identity under which recurring exports are filed. It has no row in `users` and nobody can ask as it.
SERVICE = Principal(id="service", email="service@export-pipeline.invalid", username="service", role=Role.SERVICE)
