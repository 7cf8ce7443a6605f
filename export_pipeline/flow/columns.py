"""From the columns that a request names to the columns of the file: chosen, put in order, renamed, computed.

One column is written as its name, as `name as other_name`, or as one of the functions of `functions.py` with a name, as
in `upper(name) as capitals`. A name with other characters than letters, digits and underscores is in "double quotes", a
text in 'single quotes'; either quote is doubled within its own.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from export_pipeline.flow.functions import Argument, Call, Constant, build
from export_pipeline.model.access import Sensitivity
from export_pipeline.model.dataset import OWNED, Column, Dataset, is_reserved
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest

#: PostgreSQL's and other databases' longest name.
MOST_NAME_BYTES = 63
MOST_COLUMNS = 1_000
_MOST_ARGUMENTS = 32
_MOST_CHARACTERS = 2_000

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")"""
    r"|(?P<number>-?[0-9]{1,38}(?:\.[0-9]{1,38})?(?![\w.]))|(?P<word>[^\W\d]\w*)|(?P<mark>[(),])"
)
_WRITTEN = "write it as name, as name as other_name, or as function(name) as other_name"
#: The SQL of a column that `Dataset.derive` fills in.
_PLACEHOLDER = re.compile(r"^\s*\(?\s*NULL\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def split_columns(text: str) -> tuple[str, ...]:
    """The columns of a list: what stands between commas that are in no parentheses and no quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "," and depth <= 0:
            parts.append(text[start:place])
            start = place + 1
    return tuple(part.strip() for part in (*parts, text[start:]) if part.strip())


def choose_columns(dataset: Dataset, texts: Sequence[str]) -> tuple[Column, ...]:
    """The columns that the texts stand for; of no texts, all of the dataset's. Raises Rejected with what is wrong."""
    if len(texts) > MOST_COLUMNS:
        raise Rejected(f"{len(texts):,} columns are asked for, and a file can have {MOST_COLUMNS:,}")
    chosen: dict[str, Column] = {}
    for text in texts:
        column = _column(dataset, text)
        if column.name in chosen:
            if column == chosen[column.name]:
                raise Rejected(f"the column {column.name!r} is asked for twice")
            raise Rejected(f"two columns would be called {column.name!r}; name one of them otherwise, with as")
        chosen[column.name] = column
    return tuple(chosen.values()) or dataset.columns


def refuse_new_names(dataset: Dataset, chosen: Sequence[Column], paths: Iterable[Sequence[str]]) -> None:
    """Raises Rejected where a condition or the order looks at a column by the name that only the file has for it."""
    made = {column.name: column for column in chosen if column.of}
    for path in paths:
        name = path[1] if len(path) > 1 and path[0] == dataset.name else path[0]
        if name not in made or dataset.column(name) is not None:
            continue
        column = made[name]
        how = "computed for the file from" if column.computed else "the file's name for"
        raise Rejected(
            f"{name!r} is {how} {', '.join(column.of)}: conditions and the order look at the columns of "
            f"{dataset.name} by their own names, so write {' or '.join(column.of)} there"
        )


def refuse_computed(request: ExportRequest, columns: Sequence[Column]) -> None:
    """Raises Rejected where a recurring export, which another engine reads, asks for a computed column."""
    computed = [column.name for column in columns if column.computed]
    if request.recurring and computed:
        raise Rejected(
            f"{', '.join(computed)}: a recurring export is read from extracts, where nothing is computed; rename "
            "columns only, or ask for an export of its own"
        )


def _column(dataset: Dataset, text: str) -> Column:
    """One column of the file."""
    declared = dataset.column(text)
    if declared is not None:
        return declared
    return _Parser(dataset, text).column()


class _Parser:
    """Reads one column from left to right."""

    def __init__(self, dataset: Dataset, text: str) -> None:
        self._dataset = dataset
        self._text = text
        self._tokens = list(self._read())
        self._place = 0

    def column(self) -> Column:
        """The column that the whole text stands for."""
        name = self._name("a column")
        if not self._take("("):
            column = self._known(name)
            alias = self._alias()
            return column if alias is None else replace(column, name=alias, of=(column.name,))
        call = Call(name.lower(), tuple(self._arguments()))
        alias = self._alias()
        kind, expression = build(call)
        if alias is None:
            raise Rejected(f"{call} needs a name: {call} as other_name")
        if self._dataset.derive is not None:
            self._refuse_derived(call, alias)
        return Column(
            alias,
            kind,
            expression.as_string(),
            f"Computed: {call}.",
            max((column.sensitivity for column in call.columns), key=list(Sensitivity).index),
            of=tuple(column.name for column in call.columns),
            computed=True,
        )

    def _arguments(self) -> Iterator[Argument]:
        for _ in range(_MOST_ARGUMENTS):
            yield self._argument()
            if self._take(")"):
                return
            if not self._take(","):
                raise self._wrong("a comma or a closing parenthesis is missing")
        raise self._wrong(f"it has more than {_MOST_ARGUMENTS} arguments")

    def _argument(self) -> Argument:
        token = self._next()
        if token is not None and token.kind == "text":
            return Constant(_unquoted(token.text))
        if token is not None and token.kind == "number":
            return Constant(Decimal(token.text))
        if token is None or token.kind not in ("word", "quoted"):
            raise self._wrong("an argument is missing")
        if token.kind == "word":
            if self._peek() == "(":
                raise self._wrong("functions cannot be put into each other")
            if token.text in ("true", "false") and self._dataset.column(token.text) is None:
                return Constant(token.text == "true")
        name = token.text if token.kind == "word" else _unquoted(token.text)
        if token.kind == "quoted" and self._dataset.column(name) is None:
            raise self._wrong(f"{token.text} is no column, and a text is in 'single quotes'")
        return self._known(name)

    def _alias(self) -> str | None:
        """The name after `as`, and nothing after it; None where the text ends before."""
        token = self._next()
        if token is None:
            return None
        if token.kind != "word" or token.text.lower() != "as":
            raise self._wrong(f"{token.text} is not expected there")
        name = self._name("the new name")
        if (rest := self._next()) is not None:
            raise self._wrong(f"{rest.text} is not expected after the name")
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise self._wrong("a name has no control characters, and no spaces at its ends")
        if is_reserved(name):
            raise self._wrong(f"the name {name} means something else: it is neither * nor {OWNED}, nor from ^ to $")
        if len(name.encode(errors="replace")) > MOST_NAME_BYTES:
            raise self._wrong(f"the name {name} is longer than {MOST_NAME_BYTES} bytes in UTF-8")
        return name

    def _refuse_derived(self, call: Call, alias: str) -> None:
        """What the dataset itself derives is not there yet when PostgreSQL computes."""
        filled = [column.name for column in call.columns if _PLACEHOLDER.match(column.sql)]
        if filled:
            raise call.wrong(f"{', '.join(filled)} can be chosen and renamed, but not be computed with")
        if self._dataset.column(alias) is not None:
            raise Rejected(f"{alias} is a column of {self._dataset.name}; name {call} otherwise")

    def _known(self, name: str) -> Column:
        column = self._dataset.column(name)
        if column is None:
            known = ", ".join(item.name for item in self._dataset.columns)
            raise Rejected(f"{self._dataset.name} has no column {name!r}; it has: {known}")
        return column

    def _name(self, what: str) -> str:
        token = self._next()
        if token is None or token.kind not in ("word", "quoted"):
            raise self._wrong(f"{what} is missing")
        return token.text if token.kind == "word" else _unquoted(token.text)

    def _read(self) -> Iterator[_Token]:
        if len(self._text) > _MOST_CHARACTERS:
            raise Rejected(f"the column {self._text[:40]}… is longer than {_MOST_CHARACTERS:,} characters")
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in self._text):
            raise self._wrong("it holds a character that no database holds")
        place = 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if found is None or found.lastgroup is None:
                raise self._wrong(f"{self._text[place : place + 20]} cannot be read")
            place = found.end()
            if found.lastgroup != "space":
                yield _Token(found.lastgroup, found[0])

    def _peek(self) -> str:
        return self._tokens[self._place].text if self._place < len(self._tokens) else ""

    def _take(self, mark: str) -> bool:
        """Whether the mark comes next; then it is read."""
        if self._peek() != mark or self._tokens[self._place].kind != "mark":
            return False
        self._place += 1
        return True

    def _next(self) -> _Token | None:
        if self._place == len(self._tokens):
            return None
        self._place += 1
        return self._tokens[self._place - 1]

    def _wrong(self, why: str) -> Rejected:
        return Rejected(f"{self._dataset.name} has no column {self._text!r}: {why}; {_WRITTEN}")


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(2 * quote, quote)
