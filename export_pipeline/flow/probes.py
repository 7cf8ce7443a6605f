"""What may be looked for in text that leaves redacted: nothing that would tell, question by question, the address or
the number that the file does not show.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from export_pipeline.flow.properties import PROPERTIES
from export_pipeline.flow.query import Selection
from export_pipeline.model.access import Role, Scope, sees_redacted
from export_pipeline.model.condition import AT_SIGNS, Operator, count_digits, name_of
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportRequest

#: The most digits of all texts that one request looks for, and of a number.
_MOST_DIGITS = 3
_MOST_DIGITS_OF_A_NUMBER = 6


def refuse_probes(role: Role, scope: Scope, selection: Selection, request: ExportRequest) -> None:
    """Raises Forbidden where the role may have what people wrote redacted only, and what was blanked out there is a key
    that is asked for, or rows are chosen or ordered by it; Rejected where the request itself is for a file without
    contact info."""
    masked = sees_redacted(role, scope)
    if not masked and request.contact_info:
        return
    digits = 0
    for name, operator, values in _looked_for(selection):
        digits += max((_digits(value) for value in values), default=0)
        if operator is Operator.MATCHES or digits > _MOST_DIGITS or any(map(_tells, values)):
            raise _refusal(role, selection, name, masked=masked)
    for item in selection.sort:
        if item.column.free_text:
            raise _refusal(role, selection, item.column.name, masked=masked)


def _looked_for(selection: Selection) -> Iterator[tuple[str, Operator | None, Sequence[object]]]:
    """What people's words are searched for: by which filter or column, how, and the values. The keys of JSON are among
    them: whoever names one asks whether there is such a text."""
    yield from _keys(selection)
    for item in selection.dataset.filters:
        if item.free_text and item.name in selection.values:
            value = selection.values[item.name]
            yield item.name, None, value if isinstance(value, tuple) else (value,)
    for condition in selection.conditions:
        for compared in condition.compared:
            if compared.column.free_text:
                yield compared.column.name, compared.operator, compared.values


def _keys(selection: Selection) -> Iterator[tuple[str, None, Sequence[str]]]:
    """The paths into each JSON. As each is looked for as a whole, several tell no more digits than the one that has
    most."""
    asked: dict[str, list[str]] = {}
    for item in selection.properties:
        if item.column.free_text:
            asked.setdefault(PROPERTIES, []).append(name_of(item.keys))
    for compared in (compared for condition in selection.conditions for compared in condition.compared):
        if compared.keys and compared.column.free_text:
            asked.setdefault(compared.column.name, []).append(name_of(compared.keys))
    for name, paths in asked.items():
        yield name, None, paths


def _digits(value: object) -> int:
    return count_digits(value) if isinstance(value, str) else 0


def _tells(value: object) -> bool:
    """Whether a value is a part of an address, or a number as long as that of a phone."""
    if isinstance(value, str):
        return any(sign in value for sign in AT_SIGNS)
    return isinstance(value, int | float | Decimal) and abs(value) >= 10**_MOST_DIGITS_OF_A_NUMBER


def _refusal(role: Role, selection: Selection, name: str, *, masked: bool) -> Rejected:
    why = f"in the role {role}" if masked else "without contact info"
    return (Forbidden if masked else Rejected)(
        f"{selection.dataset.name}: what {name} looks at leaves redacted {why}; it may be searched for texts without "
        f"an at sign and with {_MOST_DIGITS} digits at most (all of a request together; of keys of JSON, each path) "
        f"and be compared with numbers of {_MOST_DIGITS_OF_A_NUMBER} digits at most, and neither be matched with a "
        "pattern nor ordered by"
    )
