"""How a column leaves that may not leave as it is: which policies it can have, which are stricter than which, and what
it has by default. What they do to values is in `flow/mask.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from export_pipeline.model.access import Policy, Sensitivity
from export_pipeline.model.dataset import DATE, TEXT, Column, Kind

#: The kinds of column that a policy has a meaning for.
KINDS: Mapping[Policy, frozenset[Kind]] = {
    # Numbers as what a property of JSON may be: one that may be of a phone or a card becomes null.
    Policy.REDACT: frozenset({Kind.TEXT, Kind.JSON, Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.BOOLEAN}),
    Policy.MONTH: frozenset({Kind.DATE, Kind.TIMESTAMP}),
    Policy.TRUNCATE: frozenset({Kind.TEXT, Kind.INTEGER, Kind.DECIMAL}),
    Policy.MASK: frozenset({Kind.TEXT}),
    Policy.HASH: frozenset({Kind.TEXT, Kind.UUID, Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP}),
    Policy.DROP: frozenset(Kind),
}

#: The policies that tell no more of a value than the first, itself among them. A hash tells nothing of a value but
#: which others are the same, which a masked one nearly tells, too, and neither a month nor a redacted one does.
AT_LEAST: Mapping[Policy, frozenset[Policy]] = {
    Policy.REDACT: frozenset({Policy.REDACT, Policy.TRUNCATE, Policy.DROP}),
    Policy.MONTH: frozenset({Policy.MONTH, Policy.DROP}),
    Policy.TRUNCATE: frozenset({Policy.TRUNCATE, Policy.HASH, Policy.DROP}),
    Policy.MASK: frozenset({Policy.MASK, Policy.HASH, Policy.DROP}),
    Policy.HASH: frozenset({Policy.HASH, Policy.DROP}),
    Policy.DROP: frozenset({Policy.DROP}),
}

#: How many characters or digits `truncate` keeps where nobody says.
TRUNCATED_LENGTH = 3

_TYPES = {Policy.HASH: TEXT, Policy.MONTH: DATE}
_TOLD = {
    Policy.REDACT: "E-mail addresses and the numbers of phones and cards are blanked out.",
    Policy.MONTH: "Only the month, as its first day (UTC).",
    Policy.TRUNCATE: "Only the first {length}.",
    Policy.MASK: "Masked.",
    Policy.HASH: "A keyed hash: the same for the same value.",
}


@dataclass(frozen=True)
class Mask:
    """A declared column with the policy that it leaves by, and why. `length` is for `truncate`, `key_id` and
    `recipient` are told of `hash`; `key` is derived for the recipient, and is never shown."""

    column: Column
    policy: Policy
    reason: str
    length: int = 0
    key_id: str = ""
    recipient: str = ""
    key: bytes = field(default=b"", repr=False)

    @property
    def delivered(self) -> Column:
        """The column as it is in the file."""
        told = _TOLD[self.policy].format(length=self.length)
        kind = _TYPES.get(self.policy, self.column.type)
        return replace(
            self.column,
            type=kind,
            description=f"{self.column.description} {told}".strip(),
            number_format=self.column.number_format if kind == self.column.type else "",
        )

    @property
    def described(self) -> Mapping[str, str | int]:
        """What a manifest says about it."""
        extra: dict[str, str | int] = {"length": self.length, "key_id": self.key_id, "recipient": self.recipient}
        told = {name: value for name, value in extra.items() if value}
        return {"policy": self.policy.value, "reason": self.reason, **told}


def default_policy(column: Column) -> Policy:
    """What becomes of a column for whoever may see it masked only: what its dataset says, else what its type allows."""
    if column.mask is not None:
        return column.mask
    if leaves_redacted(column):
        return Policy.REDACT
    for policy in (Policy.MASK, Policy.MONTH):
        if column.type.kind in KINDS[policy]:
            return policy
    return Policy.DROP


def leaves_redacted(column: Column) -> bool:
    """Whether the column is redacted for whoever sees personal data masked only: people wrote it, and not as an id or a
    date, which is an address or a number of nobody's."""
    return column.free_text and column.type.kind in KINDS[Policy.REDACT]


def leaves_hashed(column: Column) -> bool:
    """Whether the column is secret, and its dataset lets it leave as a keyed hash."""
    return column.sensitivity is Sensitivity.SECRET and column.mask is Policy.HASH
