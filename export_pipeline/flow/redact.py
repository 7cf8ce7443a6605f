"""E-mail addresses, phone numbers and card numbers blanked out of what people wrote, a column at a time.

Texts without an at sign or seven digits are passed on untouched, which is nearly all of them. What is found and what is
not, and what is blanked out without need, is in docs/what-may-leave.md; its examples are tests.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_EMAIL_TOLD, _PHONE_TOLD, _CARD_TOLD, _NUMBER_TOLD = "[e-mail]", "[phone]", "[card]", "[number]"

#: An escape of JSON before an address stays: its letter is no part of the address.
_ESCAPE = r'\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})'
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}_-]*[\p{L}\p{N}\p{M}])?"
#: An equals sign or an apostrophe may be in it, and does not begin it: those stay, as the escape does.
_PLAIN = r"""[^\s@＠"'<>()\[\]{}\\,;:|=`]"""
_LOCAL = rf"""(?:\\?"[^"\s@\\]{{1,64}}\\?"|{_PLAIN}(?:{_PLAIN}|['=])*)"""
#: Also as it is written in addresses of pages.
_AT = r"(?:[@＠]|%40)"
_EMAIL = rf"(?P<escape>{_ESCAPE}['=]*)?{_LOCAL}{_AT}{_LABEL}(?:[.。．]{_LABEL})+"
#: The separators that are as wide as a Chinese character, and those that they stand for.
_WIDE = {"＋": "+", "－": "-", "　": " ", "．": ".", "／": "/", "（": "(", "）": ")"}
#: Digits with at most three separators between two of them. No ends of lines: on each of them a number may stand.
_SEPARATORS = (
    r"[ \t\x{a0}\x{2007}\x{2009}\x{202f}().·/_\-\x{2010}-\x{2015}\x{2212}"
    r"\x{3000}\x{30fb}\x{30fc}\x{ff08}\x{ff09}\x{ff0d}-\x{ff0f}]"
)
_DIGITS = rf"[+＋]?[(（]?\d(?:{_SEPARATORS}{{0,3}}\d){{6,}}"
#: Where a word begins, be it after an escape of JSON.
_START = r"(?:\\[bfnrt]|\b)"
_UUID = rf"{_START}[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}}\b"
_MOMENT = rf"{_START}\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
#: What holds digits and is no number of anybody's comes first, so that no part of it is taken for one.
_FOUND = rf"{_UUID}|{_MOMENT}|\\u[0-9A-Fa-f]{{4}}|{_DIGITS}"
_KEPT = (
    rf"^(?:{_UUID}|{_MOMENT}|\\u.*)$",
    r"^\d{4}[-/._]\d{1,2}[-/._]\d{1,2}(?: \d{1,2})?$",
    # As in the names of files: 20101117_140322.
    r"^(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d_[0-2]\d[0-5]\d(?:[0-5]\d(?:\d{3})?)?$",
    r"^\d{1,2}[-/.]\d{1,2}[-/.](?:\d\d|\d{4})(?: \d{1,2})?$",
    r"^(?:19|20)\d\d ?[-–/_] ?(?:19|20)\d\d$",
    r"^(?:0|[1-9]\d*)\.\d+$",
)
#: Moments in seconds and milliseconds since 1970, from 2001 to 2033.
_EPOCH = r"^1(?:\d{9}|\d{12})$"
#: A whole number of so many digits that it may be somebody's, whatever its sign and however many zeros it is given.
_WHOLE = r"^-?(\d{9,19})(?:\.0+)?$"
#: A document's texts, its numbers, and all else.
_JSON = r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^"\d-]+|-'
#: Stands for what was found until it is put back: neither PostgreSQL nor JSON has it in a text.
_HOLE = "\0"
_LONGEST_CARD = 19


def redact(texts: pl.Series) -> pl.Series:
    """The texts without addresses and numbers; nulls stay."""
    import polars as pl

    name = texts.name
    # A literal is looked for faster than a pattern.
    signs = texts.str.contains("@", literal=True)
    for sign in ("＠", "%40"):
        signs |= texts.str.contains(sign, literal=True)
    if signs.any():
        blanked = texts.str.replace_all(_EMAIL, f"${{escape}}{_EMAIL_TOLD}")
        texts = pl.select(pl.when(signs).then(blanked).otherwise(texts)).to_series()
    return _changed(texts, _DIGITS, _without_numbers).alias(name)


def redact_json(documents: pl.Series) -> pl.Series:
    """The same for JSON as text, in its keys and values; a number that is blanked out becomes a text. It stays JSON."""
    return _changed(documents, rf"{_AT}|{_DIGITS}", _redacted_documents)


def redact_numbers(numbers: pl.Series) -> pl.Series:
    """The numbers, with null for those that would be blanked out as text. Of a float with more digits than it holds
    exactly, nobody can tell: it goes, too, unless it is longer than any card's."""
    import polars as pl

    value = pl.col(numbers.name)
    text = value.cast(pl.String)
    vague = pl.lit(False)
    if numbers.dtype.is_float():
        size = value.abs()
        vague = (size >= 2.0**53) & (size < 10.0**_LONGEST_CARD)
        text = (
            pl.when((size < 2.0**53) & (value == value.round()))
            .then(value.cast(pl.Int64, strict=False))
            .cast(pl.String)
        )
    frame = numbers.to_frame().with_columns(text=text.str.strip_prefix("-").str.replace(_WHOLE, "${1}"), vague=vague)
    told = redact(frame["text"])
    hidden = (told != frame["text"]).fill_null(False) | frame["vague"].fill_null(False)
    return frame.select(pl.when(~hidden).then(value)).to_series() if hidden.any() else numbers


def _changed(texts: pl.Series, pattern: str, change: object) -> pl.Series:
    """The texts, with those that have the pattern in them changed."""
    import polars as pl

    assert callable(change)
    rows = texts.str.contains(pattern).fill_null(False).arg_true()
    if rows.is_empty():
        return texts
    frame = pl.DataFrame({"row": rows, "text": texts.gather(rows)})
    changed: pl.Series = change(frame)
    return texts.clone().scatter(rows, changed)


def _without_numbers(frame: pl.DataFrame) -> pl.Series:
    """Takes the texts apart into what was found and what is between, and puts them together again."""
    import polars as pl

    parts = frame.select(
        "row",
        between=pl.col("text").str.replace_all(_FOUND, _HOLE).str.split(_HOLE),
        found=pl.col("text").str.extract_all(_FOUND).list.concat(pl.lit([""])),
    ).explode("between", "found")
    told = parts.select("row", text=pl.col("between") + _told(parts["found"]))
    return told.group_by("row", maintain_order=True).agg(pl.col("text").str.join(""))["text"]


def _told(found: pl.Series) -> pl.Series:
    """What stands in the text for something that was found: itself, or what it was."""
    import polars as pl

    plain = found
    if found.str.contains(r"[^\x00-\x7f]").any():
        plain = found.str.replace_many(*_plain())
    plain = plain.str.replace(_WHOLE, "${1}")
    frame = pl.DataFrame({"found": found, "plain": plain, "digits": plain.str.replace_all(r"[^0-9]", "")})
    frame = frame.with_columns(
        count=pl.col("digits").str.len_bytes(),
        kept=pl.any_horizontal(pl.col("plain").str.contains(pattern) for pattern in _KEPT),
        run=pl.col("plain").str.contains(r"^\d+$"),
        epoch=pl.col("plain").str.contains(_EPOCH),
    )
    count = pl.col("count")
    long = frame["count"].is_between(13, _LONGEST_CARD) & ~frame["kept"]
    card = pl.zeros(len(frame), dtype=pl.Boolean, eager=True)
    if long.any():
        card = card.scatter(long.arg_true(), _luhn(frame["digits"].filter(long)))
    return frame.select(
        pl.when((count < 7) | pl.col("kept"))
        .then("found")
        .when(card)
        .then(pl.lit(_CARD_TOLD))
        .when(pl.col("run") & (~count.is_between(9, 15) | pl.col("epoch")))
        .then("found")
        .when(count > 15)
        .then(pl.lit(_NUMBER_TOLD))
        .otherwise(pl.lit(_PHONE_TOLD))
    ).to_series()


def _luhn(digits: pl.Series) -> pl.Series:
    """Whether the last digit is the check digit of a card's number; zeros alone are none's."""
    import polars as pl

    padded = digits.str.zfill(_LONGEST_CARD)
    total = pl.zeros(len(digits), dtype=pl.Int32, eager=True)
    for place in range(_LONGEST_CARD):
        digit = padded.str.slice(place, 1).cast(pl.Int32)
        # Counted from the right, every second one is doubled.
        doubled = digit * (1 + (_LONGEST_CARD - 1 - place) % 2)
        total += doubled - 9 * (doubled > 9).cast(pl.Int32)
    return (total % 10 == 0) & digits.str.contains("[1-9]")


def _redacted_documents(frame: pl.DataFrame) -> pl.Series:
    """Takes the documents apart into texts, numbers and what is between."""
    import polars as pl

    parts = frame.select("row", part=pl.col("text").str.extract_all(_JSON)).explode("part")
    part = parts["part"]
    text = part.str.starts_with('"').arg_true()
    number = part.str.contains(_WHOLE).arg_true()
    told = _told(part.gather(number))
    quoted = pl.select(pl.when(told != part.gather(number)).then('"' + told + '"').otherwise(told)).to_series()
    # Without the quotes around it, which are none of an address's.
    inner = '"' + redact(part.gather(text).str.slice(1).str.head(-1)) + '"'
    parts = parts.with_columns(part.clone().scatter(text, inner).scatter(number, quoted))
    return parts.group_by("row", maintain_order=True).agg(pl.col("part").str.join(""))["part"]


@cache
def _plain() -> tuple[list[str], list[str]]:
    """The digits of all scripts and wide separators, and the same as ASCII has them."""
    digits = [character for character in map(chr, range(0x80, 0x1FC00)) if unicodedata.category(character) == "Nd"]
    return [*digits, *_WIDE], [*(str(unicodedata.decimal(character)) for character in digits), *_WIDE.values()]
