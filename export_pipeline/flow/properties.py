"""Properties of a JSON column as columns of their own: by declared types, or by those that the selected rows have.

The filter `properties` names them: `plan,amount:decimal(12,2),utm.source`. A property whose values are of several types
becomes text, and its column says so.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from psycopg import sql

from export_pipeline.model.condition import name_of, told_name_of
from export_pipeline.model.dataset import (
    BOOLEAN,
    FLOAT,
    INTEGER,
    JSON,
    TEXT,
    Column,
    Dataset,
    Kind,
    Type,
    decimal,
    parse_type,
)
from export_pipeline.model.errors import Rejected

#: The filter that names them.
PROPERTIES = "properties"
#: The most of them.
MOST_PROPERTIES = 200
_KEY = r'(?:"(?:[^"]|"")+"|[^\s.,:()"\']+)'
_ITEM = re.compile(rf"\s*({_KEY}(?:\.{_KEY})*)\s*(?::\s*([a-z]+(?:\([0-9]+\s*,\s*[0-9]+\))?)\s*)?(?:,|$)")
_DIGITS = 38
_LARGEST = 2**63 - 1

#: How the text of a property is read as a type. What is not of it ends the export with an error.
_READ_AS = {
    Kind.TEXT: "{}",
    Kind.UUID: "({})::uuid",
    Kind.INTEGER: "({})::bigint",
    Kind.DECIMAL: "({})::numeric",
    Kind.FLOAT: "({})::float8",
    Kind.BOOLEAN: "({})::boolean",
    Kind.DATE: "({})::date",
    Kind.TIMESTAMP: "({})::timestamptz",
    Kind.JSON: "({})::jsonb",
}
_NUMBER = "-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
#: The only texts that are read as these types. PostgreSQL reads others, too, and what is redacted as a text would leave
#: by them: the digits of a phone number as a date, or without their plus sign and first zeros as a shorter number.
_FORMS = {
    Kind.UUID: "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    Kind.INTEGER: _NUMBER,
    Kind.DECIMAL: _NUMBER,
    Kind.FLOAT: _NUMBER,
    Kind.DATE: _DAY,
    Kind.TIMESTAMP: f"{_DAY}([T ]{_CLOCK}(Z|[-+][0-9]{{2}}(:?[0-9]{{2}})?)?)?",
}
#: What stands for any other text: PostgreSQL reads it as none of these types.
_OF_ANOTHER_FORM = "of another form"
#: The bits that tell which types of JSON a property has.
_TYPES = {"number": 1, "boolean": 2, "string": 4, "array": 8, "object": 16}


@dataclass(frozen=True)
class Property:
    """One property: the keys to it, its type where that was declared, and its column."""

    keys: tuple[str, ...]
    type: Type | None
    column: Column


def split_properties(text: str) -> list[str]:
    """The items of the filter. Raises Rejected."""
    items, at = [], 0
    while at < len(text):
        found = _ITEM.match(text, at)
        if found is None:
            raise Rejected(
                f"{PROPERTIES} is not a list of properties from character {at + 1} on: write them as in "
                'plan,amount:decimal(12,2),utm.source, a key that holds other characters in "quotes"'
            )
        items.append(found[0].strip().removesuffix(",").strip())
        at = found.end()
    if not items:
        raise Rejected(f"{PROPERTIES} names no property; leave it out, or write some as in plan,amount:decimal(12,2)")
    if len(items) > MOST_PROPERTIES:
        raise Rejected(f"{PROPERTIES} has {len(items):,} properties, and can have {MOST_PROPERTIES}")
    return items


def parse_properties(dataset: Dataset, items: Sequence[str]) -> tuple[Property, ...]:
    """The properties that the items of the filter name. Raises Rejected where one is withheld, its type is unknown, or
    its column would have the name of another."""
    taken = {column.name.casefold() for column in dataset.columns}
    properties = []
    for item in items:
        found = _ITEM.match(item)
        assert found is not None
        keys = _keys(found[1])
        refuse_withheld(dataset, keys)
        kind = _declared(keys, found[2])
        column = _column(dataset, keys, kind or TEXT)
        if column.name.casefold() in taken:
            raise Rejected(
                f"the property {told_name_of(keys)} would be the column {column.name!r}, which there is already"
            )
        taken.add(column.name.casefold())
        properties.append(Property(keys, kind, column))
    return tuple(properties)


def told_properties(items: Sequence[str]) -> tuple[str, ...]:
    """The items as they may be told where what people wrote may not: without keys that may be personal."""
    return tuple(_told(item) for item in items)


def spread_out(dataset: Dataset, properties: Sequence[Property]) -> Dataset:
    """The dataset with the properties' columns in the place of the JSON column."""
    spread = dataset.spread
    assert spread is not None
    place = next(number for number, column in enumerate(dataset.columns) if column.name == spread.column)
    columns = (*dataset.columns[:place], *(item.column for item in properties), *dataset.columns[place + 1 :])
    return replace(dataset, columns=columns)


def refuse_withheld(dataset: Dataset, keys: Sequence[str]) -> None:
    """Raises Rejected where the keys lead to what the dataset withholds, or, at any depth, to what is called so."""
    withheld = dataset.spread.withheld if dataset.spread else ()
    for key in keys:
        if key.casefold() in withheld:
            raise Rejected(
                f"{dataset.name}: the property {key} is personal and leaves in no form; so do {', '.join(withheld)}"
            )


def property_at(whole: str, keys: Sequence[str], arrow: str) -> sql.Composed:
    """The expression of what the keys lead to in the JSON of an expression: as jsonb (#>) or as text (#>>)."""
    return sql.SQL("(({})::jsonb {} {}::text[])").format(sql.SQL(whole), sql.SQL(arrow), sql.Literal(list(keys)))


def typing_query(dataset: Dataset, properties: Sequence[Property], rows: sql.Composed) -> sql.Composed:
    """The query that finds the properties' types: for each, bits of what there is, and of numbers the most decimals and
    the largest. `rows` is what follows the select list."""
    assert dataset.spread is not None
    whole = dataset.spread.sql
    inner, outer = [], []
    codes = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(name), sql.Literal(bit)) for name, bit in _TYPES.items()
    )
    for number, item in enumerate(properties):
        name = sql.Identifier(f"v{number}")
        inner.append(sql.SQL("{} AS {}").format(property_at(whole, item.keys, "#>"), name))
        amount = sql.SQL("CASE jsonb_typeof({}) WHEN 'number' THEN {}::numeric END").format(name, name)
        outer.append(sql.SQL("bit_or(CASE jsonb_typeof({}) {} ELSE 0 END)").format(name, codes))
        outer += [sql.SQL("max({}({}))").format(sql.SQL(function), amount) for function in ("scale", "abs")]
    # OFFSET keeps PostgreSQL from looking every property up again for each of its aggregates.
    return sql.SQL("SELECT {} FROM (SELECT {} {} OFFSET 0) AS found").format(
        sql.SQL(", ").join(outer), sql.SQL(", ").join(inner), rows
    )


def typed(dataset: Dataset, properties: Sequence[Property], found: Sequence[int | Decimal | None]) -> list[Column]:
    """The properties' columns by what the query found of them."""
    columns = []
    for number, item in enumerate(properties):
        bits, scale, largest = found[3 * number : 3 * number + 3]
        kinds = [name for name, bit in _TYPES.items() if int(bits or 0) & bit]
        kind = _fitting(kinds, int(scale or 0), Decimal(largest or 0))
        column = replace(item.column, type=kind, sql=_READ_AS[kind.kind].format(_text_at(dataset, item.keys)))
        if len(kinds) > 1 and column.type is TEXT:
            said = f"{column.description} Its values are of several types ({', '.join(kinds)}), and so text."
            column = replace(column, description=said)
        elif not kinds:
            column = replace(column, description=f"{column.description} No row has it.")
        columns.append(column)
    return columns


def _fitting(kinds: Sequence[str], scale: int, largest: Decimal) -> Type:
    if kinds and set(kinds) <= {"array", "object"}:
        return JSON
    if kinds == ["boolean"]:
        return BOOLEAN
    if kinds != ["number"]:
        return TEXT
    if not scale and largest <= _LARGEST:
        return INTEGER
    digits = max(1, largest.adjusted() + 1) + scale
    return decimal(digits, scale) if digits <= _DIGITS else FLOAT


def _text_at(dataset: Dataset, keys: Sequence[str]) -> str:
    assert dataset.spread is not None
    return property_at(dataset.spread.sql, keys, "#>>").as_string()


def _read(dataset: Dataset, keys: Sequence[str], kind: Type) -> str:
    """The expression of the property as a value of a declared type: numbers and booleans that were found in the JSON
    have no other form, and need no such look."""
    text = _text_at(dataset, keys)
    if kind.kind in _FORMS:
        others = sql.Literal(f"^(?!({_FORMS[kind.kind]})$).*$")
        text = (
            sql.SQL("regexp_replace({}, {}, {})")
            .format(sql.SQL(text), others, sql.Literal(_OF_ANOTHER_FORM))
            .as_string()
        )
    return _READ_AS[kind.kind].format(text)


def _column(dataset: Dataset, keys: Sequence[str], kind: Type) -> Column:
    assert dataset.spread is not None
    whole = dataset.column(dataset.spread.column)
    assert whole is not None
    # Such a name fits every format.
    name = re.sub(r"[^A-Za-z0-9_]", "_", ".".join(keys))
    return Column(
        name=f"_{name}" if name[0].isdigit() else name,
        type=kind,
        sql=_read(dataset, keys, kind),
        description=f"The property {told_name_of(tuple(keys))}.",
        sensitivity=whole.sensitivity,
        free_text=whole.free_text,
        spread=True,
    )


def _keys(path: str) -> tuple[str, ...]:
    return tuple(key[1:-1].replace('""', '"') if key.startswith('"') else key for key in re.findall(_KEY, path))


def _told(item: str) -> str:
    found = _ITEM.match(item)
    assert found is not None
    keys = _keys(found[1])
    return item if told_name_of(keys) == name_of(keys) else item.replace(found[1], told_name_of(keys), 1)


def _declared(keys: tuple[str, ...], text: str | None) -> Type | None:
    if text is None:
        return None
    try:
        kind = parse_type(text)
    except ValueError:
        kind = None
    if kind is None or (kind.kind is Kind.DECIMAL and not kind.precision):
        raise Rejected(
            f"the property {told_name_of(keys)}: there is no type {text!r}; there are: {', '.join(Kind)}, of these "
            "decimal with its digits in all and after the point, as in decimal(12,2)"
        )
    return kind
