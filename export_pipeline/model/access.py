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


class Sight(StrEnum):
    """How somebody may see a column: as it is, masked by one of the policies, or never."""

    PLAIN = "plain"
    MASKED = "masked"
    NEVER = "never"


class Policy(StrEnum):
    """What becomes of a value that may not leave as it is (docs/what-may-leave.md shows each)."""

    REDACT = "redact"
    MONTH = "month"
    TRUNCATE = "truncate"
    MASK = "mask"
    HASH = "hash"
    DROP = "drop"


def _sights(personal: Sight) -> Mapping[Sensitivity, Sight]:
    """What is public and internal is plain to whoever may have the dataset; what is secret is for nobody."""
    return {
        Sensitivity.PUBLIC: Sight.PLAIN,
        Sensitivity.INTERNAL: Sight.PLAIN,
        Sensitivity.PERSONAL: personal,
        Sensitivity.SECRET: Sight.NEVER,
    }


#: What each role may see of the rows that it reaches, so that a new dataset needs no rule. Operators and managers see
#: people's data in their own rows only. A secret column whose dataset says so leaves as a keyed hash, to anybody.
SIGHTS: Mapping[Scope, Mapping[Role, Mapping[Sensitivity, Sight]]] = {
    Scope.OWN: {
        Role.OPERATOR: _sights(Sight.PLAIN),
        Role.CAMPAIGN_MANAGER: _sights(Sight.PLAIN),
        Role.ANALYST: _sights(Sight.MASKED),
        Role.COMPLIANCE: _sights(Sight.PLAIN),
        Role.ADMIN: _sights(Sight.PLAIN),
        Role.SERVICE: _sights(Sight.PLAIN),
    },
    Scope.ALL: {
        Role.OPERATOR: _sights(Sight.MASKED),
        Role.CAMPAIGN_MANAGER: _sights(Sight.MASKED),
        Role.ANALYST: _sights(Sight.MASKED),
        Role.COMPLIANCE: _sights(Sight.PLAIN),
        Role.ADMIN: _sights(Sight.PLAIN),
        Role.SERVICE: _sights(Sight.PLAIN),
    },
}


def sees_redacted(role: Role, scope: Scope) -> bool:
    """Whether the role sees what is personal masked only, and so what people wrote redacted."""
    return SIGHTS[scope][role][Sensitivity.PERSONAL] is not Sight.PLAIN


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
