"""Which columns of a selection leave, and how: what the role may see, what the request asks for beyond that, and the
keys that there are. The strictest wins; nothing is ever laxer than the role's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from export_pipeline.flow.mask import derive_key
from export_pipeline.flow.probes import refuse_probes
from export_pipeline.flow.query import Selection
from export_pipeline.model.access import SIGHTS, Policy, Role, Scope, Sensitivity, Sight, sees_redacted
from export_pipeline.model.dataset import Column, Dataset
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.masking import (
    AT_LEAST,
    KINDS,
    TRUNCATED_LENGTH,
    Mask,
    default_policy,
    leaves_hashed,
    leaves_redacted,
)
from export_pipeline.settings import Settings

_CONTACT = frozenset({Sensitivity.PERSONAL, Sensitivity.SECRET})
#: The most characters of a reason, and of a recipient's name.
MOST_REASON, MOST_RECIPIENT = 500, 100
_HOW = "COLUMN=POLICY, for example phone=hash, name=truncate:2 or email=hash:KEYID"


@dataclass(frozen=True)
class _Choice:
    """A policy and why it was chosen. `asked` tells that the request names it."""

    policy: Policy
    reason: str
    length: int = 0
    key_id: str = ""
    asked: bool = False


def mask_selection(
    settings: Settings, role: Role, scope: Scope, selection: Selection, request: ExportRequest
) -> Selection:
    """The selection with what the role may see, masked as it and the request say. Raises Forbidden where it names
    what is not for the role; Rejected where the request contradicts itself, or asks for a policy that cannot be."""
    dataset = selection.dataset
    check_wording(request)
    refuse_filters(role, scope, selection, request)
    asked = {name: _parsed(dataset, name, text) for name, text in request.masks.items()}
    _refuse_masks_of_computed(selection, asked)
    _refuse_order_by_masked(selection, asked)
    kept: list[Column] = []
    masks: list[Mask] = []
    left_out: dict[Column, str] = {}
    for column in selection.columns:
        if column.computed:
            _refuse_computed(role, scope, dataset, column, request)
        # A computed column may have the name of a declared one: the mask is not meant for it.
        requested = None if column.computed else asked.get(column.source_name)
        choice = _choice(role, scope, column, request, requested)
        if choice is not None and choice.policy is Policy.HASH and not settings.hash_keys:
            choice = _without_key(column, choice)
        if choice is None:
            kept.append(column)
        elif choice.policy is Policy.DROP:
            if selection.named and not choice.asked:
                raise Forbidden(
                    f"the role {role} may not see these columns of {dataset.told_name}: {column.name} "
                    f"({column.sensitivity}); leave them out"
                )
            left_out[column] = choice.reason
        else:
            mask = _mask(settings, column, choice, request.recipient.strip())
            masks.append(mask)
            kept.append(mask.delivered)
    if not kept:
        raise Forbidden(f"the role {role} may not see any column of {dataset.told_name}")
    return replace(
        selection,
        columns=tuple(kept),
        left_out=tuple(left_out),
        why_left_out={column.name: reason for column, reason in left_out.items()},
        masks=tuple(masks),
    )


def sight(role: Role, scope: Scope, column: Column) -> Sight:
    """How the role may see the column in the rows that it reaches."""
    return Sight.MASKED if leaves_hashed(column) else SIGHTS[scope][role][column.sensitivity]


def usual_policy(role: Role, scope: Scope, column: Column) -> Policy | None:
    """What becomes of the column for the role, if nothing is asked for; None: it leaves as it is. What people wrote is
    redacted for whoever sees personal data masked only, however harmless the column itself is."""
    found = sight(role, scope, column)
    if found is Sight.NEVER:
        return Policy.DROP
    if found is Sight.MASKED:
        return default_policy(column)
    return Policy.REDACT if leaves_redacted(column) and sees_redacted(role, scope) else None


def check_wording(request: ExportRequest) -> None:
    """Raises Rejected where the reason or the recipient cannot be written down as they are."""
    for name, text, most in (
        ("reason", request.reason, MOST_REASON),
        ("recipient", request.recipient, MOST_RECIPIENT),
    ):
        if len(text) > most or not text.isprintable():
            raise Rejected(f"the {name} has {len(text):,} characters; write at most {most}, in one line")


def refuse_filters(role: Role, scope: Scope, selection: Selection, request: ExportRequest) -> None:
    """Raises Forbidden, Rejected where rows are to be chosen or ordered by what the file may not show: that would tell
    it."""
    name = selection.dataset.told_name
    for item in selection.dataset.filters:
        if item.name in selection.values:
            refuse_look(role, scope, request, f"{name} may not be filtered by {item.name}", item.sensitivity)
    for column in selection.looked_at:
        told = f"{name} may be neither filtered nor ordered by {column.name}"
        refuse_look(role, scope, request, told, column.sensitivity)
    refuse_probes(role, scope, selection, request)
    if not request.contact_info and selection.named:
        named = ", ".join(column.name for column in selection.columns if column.sensitivity in _CONTACT)
        if named:
            raise Rejected(f"without contact info {name} has no {named}: leave them out of the columns")


def refuse_look(role: Role, scope: Scope, request: ExportRequest, what: str, sensitivity: Sensitivity) -> None:
    """Raises Forbidden where the role may not see plainly what is looked at, Rejected where it is personal and the
    request is for a file without contact info. `what` is the beginning of the sentence."""
    if SIGHTS[scope][role][sensitivity] is not Sight.PLAIN:
        raise Forbidden(f"{what} in the role {role}: what it looks at is {sensitivity}")
    if not request.contact_info and sensitivity in _CONTACT:
        raise Rejected(f"{what} without contact info: what it looks at is {sensitivity}")


def remasked(mask: Mask, column: Column) -> Mask:
    """The mask of a column whose type was found only now. Raises Rejected where what was asked for does not fit the
    type."""
    if _fits(column, mask.policy):
        return replace(mask, column=column)
    raise Rejected(f"{column.name} turned out to be {column.type}, which has no {mask.policy}; declare its type")


def plain_columns(selection: Selection) -> list[Column]:
    """The columns of the file that tell more than they would to somebody who may see them masked only, whatever mask
    they have: a text cut off after 1000 characters is a text."""
    masked = {mask.column.name for mask in selection.masks if _tells_little(mask)}
    return [column for column in selection.columns if column.name not in masked]


def _tells_little(mask: Mask) -> bool:
    # What people wrote is redacted before it is cut off.
    if mask.policy is Policy.TRUNCATE and mask.length > TRUNCATED_LENGTH and not mask.column.free_text:
        return False
    usual = default_policy(mask.column)
    # Without a key there is no hash, and what would be hashed is masked.
    return mask.policy in AT_LEAST[usual] or (usual is Policy.HASH and mask.policy is Policy.MASK)


def require_reason(settings: Settings, selections: list[Selection], request: ExportRequest) -> None:
    """Raises Rejected where personal data would leave as it is without the reason that EXPORT_REQUIRE_REASON asks
    for."""
    if not settings.require_reason or request.reason.strip():
        return
    for selection in selections:
        plain = [column.name for column in plain_columns(selection) if column.sensitivity in _CONTACT]
        if plain:
            raise Rejected(
                f"{selection.dataset.told_name} with {', '.join(plain)} is personal data: say why it is needed "
                "(--reason, a sentence or a ticket), or leave it out with --no-contact-info"
            )


def _refuse_computed(role: Role, scope: Scope, dataset: Dataset, column: Column, request: ExportRequest) -> None:
    """Raises Forbidden, Rejected where a column is computed from one that may not leave as it is: it would tell."""
    for name in column.of:
        argument = dataset.column(name)
        assert argument is not None
        if usual_policy(role, scope, argument) is not None:
            raise Forbidden(f"{column.name} cannot be computed in the role {role}: {name} does not leave as it is")
        if argument.free_text and sees_redacted(role, scope):
            raise Forbidden(
                f"{column.name} cannot be computed in the role {role}: {name} is of what leaves redacted; ask for it "
                "as it is"
            )
        if name in request.masks or (not request.contact_info and argument.free_text):
            raise Rejected(f"{column.name} cannot be computed from {name}, which is to be masked; ask for one of them")


def _refuse_masks_of_computed(selection: Selection, asked: Mapping[str, _Choice]) -> None:
    """Raises Rejected where a mask names what is in the file as a computed column alone: whoever could have what they
    compute hashed, could look up any value's hash."""
    declared = {column.source_name for column in selection.columns if not column.computed}
    for column in selection.columns:
        if column.computed and column.name in asked and column.name not in declared:
            raise Rejected(
                f"{column.name} is computed and cannot be masked, though {selection.dataset.name} has a column of that "
                "name; leave out the mask, or name what is computed otherwise"
            )


def _refuse_order_by_masked(selection: Selection, asked: Mapping[str, _Choice]) -> None:
    """Raises Rejected where rows are to be ordered by what the request masks: their order would tell it. What is only
    cut short keeps an order of its own."""
    for column in (item.column for item in selection.sort):
        choice = asked.get(column.name)
        if choice is not None and choice.policy not in (Policy.TRUNCATE, Policy.MONTH):
            raise Rejected(
                f"{selection.dataset.name} cannot be ordered by {column.name}, which leaves by {choice.policy}: the "
                "order would tell it; leave out one of them"
            )


def _choice(role: Role, scope: Scope, column: Column, request: ExportRequest, asked: _Choice | None) -> _Choice | None:
    """What becomes of a column; None: it leaves as it is."""
    usual = usual_policy(role, scope, column)
    if usual is not None and column.type.kind not in KINDS[usual]:
        raise Broken(f"the column {column.name} is declared {column.type}, which has no {usual}; in the dataset's file")
    choice = None
    if usual is not None:
        length = TRUNCATED_LENGTH if usual is Policy.TRUNCATE else 0
        seen = "not" if usual is Policy.DROP else "masked"
        why = "free text" if usual is Policy.REDACT and column.free_text else column.sensitivity.value
        choice = _Choice(usual, f"{why}: {seen} for the role that asked", length)
    if not request.contact_info and column.sensitivity in _CONTACT:
        return _Choice(Policy.DROP, f"{column.sensitivity}: no contact info was asked for", asked=True)
    if not request.contact_info and leaves_redacted(column) and choice is None:
        choice = _Choice(Policy.REDACT, "free text: no contact info was asked for")
    if asked is None:
        return choice
    if choice is not None:
        shorter = asked.policy is not choice.policy or asked.length <= choice.length
        if asked.policy not in AT_LEAST[choice.policy] or not shorter:
            allowed = ", ".join(item for item in Policy if item in AT_LEAST[choice.policy] and _fits(column, item))
            raise Forbidden(
                f"{column.name} leaves by {choice.policy} ({choice.reason}) and {asked.policy} would tell more; it can "
                f"be: {allowed}"
            )
    return asked


def _parsed(dataset: Dataset, name: str, text: str) -> _Choice:
    """A policy as a request names it. Raises Rejected."""
    column = dataset.column(name)
    if column is None:
        known = ", ".join(item.name for item in dataset.columns)
        raise Rejected(f"{dataset.name} has no column {name!r} to mask; it has: {known}. Write {_HOW}")
    word, _, parameter = text.partition(":")
    allowed = ", ".join(item for item in Policy if _fits(column, item))
    if word not in set(Policy):
        raise Rejected(f"{name}={text!r} is no policy; {name} can have: {allowed}. Write {_HOW}")
    policy = Policy(word)
    if not _fits(column, policy):
        raise Rejected(f"{name} is {column.type}, which has no {policy}; it can have: {allowed}")
    if policy is Policy.TRUNCATE:
        return _Choice(policy, "asked for", length=_length(name, parameter), asked=True)
    if parameter and policy is not Policy.HASH:
        raise Rejected(f"{name}={text!r}: {policy} takes nothing after it. Write {_HOW}")
    return _Choice(policy, "asked for", key_id=parameter, asked=True)


def _length(name: str, text: str) -> int:
    if not text:
        return TRUNCATED_LENGTH
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1000:
        raise Rejected(f"{name}=truncate:{text} does not say how many characters or digits stay: 1 to 1000")
    return int(text)


def _fits(column: Column, policy: Policy) -> bool:
    return column.type.kind in KINDS[policy]


def _without_key(column: Column, choice: _Choice) -> _Choice:
    """What becomes of a column that would be hashed, where there is no key."""
    if choice.asked:
        raise Rejected(f"{column.name}=hash needs a key: have EXPORT_HASH_KEYS set, or take another policy")
    secret = column.sensitivity is Sensitivity.SECRET
    policy = Policy.DROP if secret or not _fits(column, Policy.MASK) else Policy.MASK
    return replace(choice, policy=policy, reason=f"{choice.reason}; not hashed, as there is no key")


def _mask(settings: Settings, column: Column, choice: _Choice, recipient: str) -> Mask:
    if choice.policy is not Policy.HASH:
        return Mask(column, choice.policy, choice.reason, choice.length)
    keys: Mapping[str, object] = settings.hash_keys
    key_id = choice.key_id or next(iter(keys))
    if key_id not in keys:
        raise Rejected(f"{column.name}=hash:{key_id}: there is no key of that id; there are: {', '.join(keys)}")
    key = derive_key(settings.hash_keys[key_id].get_secret_value(), recipient)
    return Mask(column, choice.policy, choice.reason, key_id=key_id, recipient=recipient, key=key)
