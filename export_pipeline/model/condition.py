"""The language of conditions, as text and as a tree: `PROPERTY OPERATOR VALUE`, grouped by and, or and parentheses.

It knows no dataset: which properties there are, and of which types, is asked in `flow/conditions.py`. Errors tell where
in the text something is wrong, and never a value: that may be personal.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from export_pipeline.model.errors import Rejected

#: The most comparisons of one request, the deepest that groups may lie in each other, and the longest text.
MOST_COMPARISONS = 100
MOST_DEPTH = 20
MOST_CHARACTERS = 200_000
#: What stands for what is not told.
NOT_TOLD = "(not told)"
#: How the at sign of an address is written, and the fewest digits that can be of a phone or a card.
AT_SIGNS = ("@", "＠", "%40")
_FEWEST_DIGITS = 7


class Operator(StrEnum):
    """How a property is compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NOT_IN = "not_in"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    IS_NULL = "is_null"
    IS_NOT_NULL = "is_not_null"
    BETWEEN = "between"
    MATCHES = "matches"


#: Operators that take no value, and those that take a list; between takes two, all others one.
WITHOUT_VALUE = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL})
WITH_LIST = frozenset({Operator.IN, Operator.NOT_IN})


class Joint(StrEnum):
    """How the parts of a group belong together."""

    AND = "and"
    OR = "or"


@dataclass(frozen=True)
class Value:
    """A value as it was written. What is quoted is text, whatever it looks like."""

    text: str
    quoted: bool = False


@dataclass(frozen=True)
class Comparison:
    """One property compared. `path` is the column, and behind it the keys into its JSON."""

    path: tuple[str, ...]
    operator: Operator
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Group:
    """Two or more parts, of which all hold (and) or any (or)."""

    joint: Joint
    parts: tuple["Comparison | Group", ...]


Tree = Comparison | Group

_SPACE = re.compile(r"\s*")
_KEY = re.compile(r"""[^\s.()"',]+""")
_QUOTED_KEY = re.compile(r'"((?:[^"]|"")+)"')
_WORD = re.compile(r"[^\s(),]+")
_WORD_WITH_COMMAS = re.compile(r"[^\s()]+")
_JOINT = re.compile(r"(and|or)(?=[\s(]|$)", re.IGNORECASE)
_QUOTED = {quote: re.compile(f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}") for quote in "'\""}
_AFTER_A_QUOTE = re.compile(r"[\s(),]|$")
#: Words that may be shown where an operator is expected: anything else could be a value.
_LIKE_AN_OPERATOR = re.compile(r"[a-z_]{1,20}|[<>=!~]{1,3}", re.IGNORECASE)


def parse_condition(text: str) -> Tree:
    """The tree that the text stands for. Raises Rejected, saying where it is wrong and what is allowed."""
    if len(text) > MOST_CHARACTERS:
        raise Rejected(f"a condition has {len(text):,} characters, and can have {MOST_CHARACTERS:,}")
    return _Parser(text).parse()


def comparisons_of(tree: Tree) -> Iterator[Comparison]:
    """All comparisons of a tree, from left to right."""
    if isinstance(tree, Comparison):
        yield tree
    else:
        for part in tree.parts:
            yield from comparisons_of(part)


def name_of(path: tuple[str, ...]) -> str:
    """A property as it is written in a condition."""
    return ".".join(key if _KEY.fullmatch(key) else f'"{key.replace(chr(34), chr(34) * 2)}"' for key in path)


def told_name_of(path: tuple[str, ...]) -> str:
    """The same for whoever reads what was asked for: a key that may be an address or a number of somebody is not
    told."""
    return ".".join(NOT_TOLD if _may_be_personal(key) else name_of((key,)) for key in path)


def count_digits(text: str) -> int:
    """How many digits, of any script, a text has."""
    return sum(character.isdigit() for character in text)


def text_of(tree: Tree, hidden: Collection[tuple[str, ...]]) -> str:
    """The condition as text. Of the properties in `hidden` it tells neither values nor keys that may be personal."""
    if isinstance(tree, Group):
        parts = (text_of(part, hidden) for part in tree.parts)
        joined = f" {tree.joint} ".join(parts)
        return f"({joined})"
    if tree.path in hidden:
        return f"{told_name_of(tree.path)} {tree.operator} {NOT_TOLD if tree.values else ''}".rstrip()
    values = ",".join(_quoted(value.text) if value.quoted else value.text for value in tree.values)
    return f"{name_of(tree.path)} {tree.operator} {values}".rstrip()


def _may_be_personal(key: str) -> bool:
    return any(sign in key for sign in AT_SIGNS) or count_digits(key) >= _FEWEST_DIGITS


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class _Parser:
    """Goes through the text once, from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found = 0

    def parse(self) -> Tree:
        tree = self._any(0)
        self._skip()
        if self.at < len(self.text):
            raise self._wrong("and, or, or the end is expected; a value that holds a parenthesis goes into quotes")
        return tree

    def _any(self, depth: int) -> Tree:
        return self._joined(Joint.OR, lambda: self._joined(Joint.AND, lambda: self._term(depth)))

    def _joined(self, joint: Joint, part: Callable[[], Tree]) -> Tree:
        parts = [part()]
        while self._joint() is joint:
            self.at += len(joint)
            parts.append(part())
        return parts[0] if len(parts) == 1 else Group(joint, tuple(parts))

    def _term(self, depth: int) -> Tree:
        if not self._starts("("):
            return self._comparison()
        if depth >= MOST_DEPTH:
            raise self._wrong(f"groups may lie {MOST_DEPTH} deep in each other")
        self.at += 1
        tree = self._any(depth + 1)
        if not self._starts(")"):
            raise self._wrong("and, or, or ) is expected")
        self.at += 1
        return tree

    def _comparison(self) -> Comparison:
        self.found += 1
        if self.found > MOST_COMPARISONS:
            raise Rejected(f"a request may have {MOST_COMPARISONS} conditions; put values into one list: in A,B,C")
        self._skip()
        path = [self._key()]
        while self.text.startswith(".", self.at):
            self.at += 1
            path.append(self._key())
        name = told_name_of(tuple(path))
        self._skip()
        word = _WORD.match(self.text, self.at)
        try:
            operator = Operator(word[0].lower() if word else "")
        except ValueError:
            told = f" {word[0]!r}" if word and _LIKE_AN_OPERATOR.fullmatch(word[0]) else ""
            raise self._wrong(f"{name}: there is no operator{told}; there are: {', '.join(Operator)}") from None
        assert word is not None
        self.at = word.end()
        if operator in WITHOUT_VALUE:
            values: tuple[Value, ...] = ()
        elif operator in WITH_LIST:
            values = self._list(name)
        elif operator is Operator.BETWEEN:
            values = self._range(name)
        else:
            values = (self._value(name, in_list=False),)
        return Comparison(tuple(path), operator, values)

    def _list(self, name: str) -> tuple[Value, ...]:
        closed = self._starts("(")
        self.at += closed
        values = [self._value(name, in_list=True)]
        while self._starts(","):
            self.at += 1
            values.append(self._value(name, in_list=True))
        if closed:
            if not self._starts(")"):
                raise self._wrong(f"{name}: a comma or ) is expected in the list")
            self.at += 1
        return tuple(dict.fromkeys(values))

    def _range(self, name: str) -> tuple[Value, ...]:
        first = self._value(name, in_list=True)
        if self._starts(","):
            self.at += 1
        elif self._joint() is Joint.AND:
            self.at += len(Joint.AND)
        else:
            raise self._wrong(f"{name}: between takes two values, as in between 1 and 5")
        return (first, self._value(name, in_list=True))

    def _value(self, name: str, *, in_list: bool) -> Value:
        """One value: in quotes, or all words up to and, or, a parenthesis or, in a list, a comma."""
        self._skip()
        if self._starts("'") or self._starts('"'):
            return self._quoted(name)
        word = _WORD if in_list else _WORD_WITH_COMMAS
        start = end = self.at
        while self._joint() is None and (found := word.match(self.text, self.at)):
            self.at = end = found.end()
            self._skip()
        self.at = end
        if start == end:
            raise self._wrong(f"{name}: a value is expected; a text without characters is written ''")
        return Value(self.text[start:end])

    def _quoted(self, name: str) -> Value:
        quote = self.text[self.at]
        found = _QUOTED[quote].match(self.text, self.at)
        if found is None:
            raise self._wrong(f"{name}: the quote {quote} is not closed; inside, it is written twice")
        self.at = found.end()
        if not _AFTER_A_QUOTE.match(self.text, self.at):
            raise self._wrong(f"{name}: the value ends with its quote {quote}; inside, it is written twice")
        return Value(found[1].replace(quote * 2, quote), quoted=True)

    def _key(self) -> str:
        quoted = _QUOTED_KEY.match(self.text, self.at)
        found = quoted or _KEY.match(self.text, self.at)
        if found is None:
            raise self._wrong("a property is expected, as in price gt 100")
        self.at = found.end()
        return found[1].replace('""', '"') if quoted else found[0]

    def _joint(self) -> Joint | None:
        """The and or or that comes next, if one does."""
        self._skip()
        found = _JOINT.match(self.text, self.at)
        return Joint(found[1].lower()) if found else None

    def _starts(self, character: str) -> bool:
        self._skip()
        return self.text.startswith(character, self.at)

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _wrong(self, expected: str) -> Rejected:
        return Rejected(f"the condition is wrong at character {self.at + 1}: {expected}")
