"""Redaction: what is found in people's words, what stays, and what goes without need; in texts and in JSON."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_pipeline.flow.redact import redact, redact_json

FOUND = [
    ("write to zoe.mueller+x@sub.example.co.uk, please", "write to [e-mail], please"),
    ("<zoe@example.com>;BOB@EXAMPLE.ORG", "<[e-mail]>;[e-mail]"),
    ("mailto:zoe@example.com?subject=x", "mailto:[e-mail]?subject=x"),
    ("/u?email=zoe.mueller%40example.com&x=1", "[e-mail]&x=1"),
    ("a b+zoe.mueller=example.org@lists.com", "a [e-mail]"),
    ("'pat.o'brien@example.com'", "'[e-mail]'"),
    ("üml.äut@müller.de and 用户@例子.公司", "[e-mail] and [e-mail]"),
    ("zoe＠example。jp", "[e-mail]"),
    ('"zoe.m"@example.com', "[e-mail]"),
    ("call +15550100123 now", "call [phone] now"),
    ("call +1 (555) 010-0123, or 555-010-0123", "call [phone], or [phone]"),
    ("(555) 010-0123", "[phone]"),
    ("555.010.0123", "[phone]"),
    ("+44 (0)20 7946 0123", "[phone]"),
    ("0044 20 7946 0123", "[phone]"),
    ("+351 912 345 678 ou 912345678", "[phone] ou [phone]"),
    ("0171/1234567", "[phone]"),
    ("06 12 34 56 78", "[phone]"),
    ("03–1234–5678", "[phone]"),
    ("+49 30 123456", "[phone]"),
    ("tel5550100123", "tel[phone]"),
    ("555-0123", "[phone]"),
    ("٠٥٥ ٠١٢ ٣٤٥٦", "[phone]"),
    ("＋１５５５０１００１２３", "[phone]"),
    ("電話０３－１２３４－５６７８まで", "電話[phone]まで"),
    ("TEL　０９０　１２３４　５６７８", "TEL　[phone]"),
    ("（０３）１２３４・５６７８、０３ー１２３４ー５６７８", "[phone]、[phone]"),
    ("０３／１２３４．５６７８", "[phone]"),
    ("+1_555_010_0123 or call_555_010_0123", "[phone] or call_[phone]"),
    ("４１１１　１１１１－１１１１　１１１１", "[card]"),
    ("4111 1111 1111 1111", "[card]"),
    ("pay by 4111-1111-1111-1111.", "pay by [card]."),
    ("5500005555555559 378282246310005", "[number]"),
    ("378282246310005", "[card]"),
    ("４１１１１１１１１１１１１１１１", "[card]"),
    ("4111 1111 1111 1111 12/25", "[number]"),
    ("4111 1111 1111 1112", "[number]"),
    ("15550100123.0", "[phone]"),
    ("4111111111111111.00", "[card]"),
]
KEPT = [
    "",
    "Good morning, 3.5 % for 12 months",
    "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",
    "12345678-1234-1234-1234-123456789012",
    "2010-11-17",
    "2010-11-17 14:03",
    "2010-11-17T14:03:22.123456-05:00",
    "17.11.2010 or 11/17/2010",
    "2010-2011",
    "２０１０／１１／１７、２０１０－１１－１７ and ２０１０－２０１１",
    "IMG_20101117_140322.jpg, PXL_20101117_140322123.jpg, sales_2010_11_17, plan_2010_2011",
    "３．１４１５９２６",
    "100\n250\r\n3000\n12",
    "1290002400 and 1290002400000",
    "20101117",
    "12345.6789012",
    "$1,234,567.89",
    "4111111111111112",
    "12345678901234567890",
    "a@b",
    "@home, me @ work",
]
#: Goes without need, as docs/what-may-leave.md says; and what is not found.
WITHOUT_NEED = [
    "order 123456789",
    "10 20 30 40",
    "192.168.100.200",
    "1 000 000",
    "1250.00-1300.00",
    "order_2010_000123",
]
NOT_FOUND = ["Zoë Müller, 5 High Street", "12345678", "555.0123", "zoe at example dot com", "+1 555\n010\n0123"]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_text_when_it_holds_an_address_or_a_number_then_blanked_out(text: str, expected: str) -> None:
    assert redact(pl.Series("t", [text, None, "nothing"])).to_list() == [expected, None, "nothing"]


def test_text_when_it_holds_neither_then_untouched() -> None:
    assert redact(pl.Series("t", [*KEPT, *NOT_FOUND])).to_list() == [*KEPT, *NOT_FOUND]


def test_text_when_it_looks_like_a_number_then_blanked_out_without_need() -> None:
    redacted = redact(pl.Series("t", WITHOUT_NEED)).to_list()
    assert all("[phone]" in text for text in redacted)


@pytest.mark.parametrize(("text", "expected"), [*FOUND, *((text, text) for text in KEPT)])
def test_json_when_redacted_then_the_same_words_and_still_json(text: str, expected: str) -> None:
    before = f'a\n{text}\t"x"'
    document = {"text": before, "turns": [{"who": "A", "said": text}], text: 1, "n": 12.5, "none": None}
    for ascii_only in (False, text.isascii()):
        [changed] = redact_json(pl.Series("t", [json.dumps(document, ensure_ascii=ascii_only)]))
        found = json.loads(changed)
        assert found["turns"] == [{"who": "A", "said": expected}]
        assert found["text"] == f'a\n{expected}\t"x"'
        assert (found[expected], found["n"], found["none"]) == (1, 12.5, None)


def test_json_when_numbers_are_phones_or_cards_then_texts_and_other_numbers_stay() -> None:
    document = {
        "phone": 15550100123,
        "card": 4111111111111111,
        "at": [1290002400, 1290002400000],
        "price": -1234567.891,
        "sum": 1234567.0,
        "since": [1290002400.0, -1290002400],
        "whole": 0,
        "negative": 0,
    }
    text = json.dumps(document).replace('"whole": 0', '"whole": 15550100123.0')
    text = text.replace('"negative": 0', '"negative": -15550100123')
    assert json.loads(redact_json(pl.Series("t", [text]))[0]) == document | {
        "phone": "[phone]",
        "card": "[card]",
        "whole": "[phone]",
        "negative": "[phone]",
    }


_PIECES = st.sampled_from(
    [
        "zoe@example.com",
        "+1 555 010 0123",
        "4111 1111 1111 1111",
        "\\",
        '"',
        "\n",
        "é",
        "\u2028",
        " ",
        "x",
        "{",
        "7",
        "@",
    ]
)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.lists(_PIECES, max_size=9).map("".join), min_size=1, max_size=6))
def test_json_when_of_any_texts_then_still_json_with_the_texts_redacted(texts: list[str]) -> None:
    for document in ({"a": texts}, {text: text for text in texts}):
        text = json.dumps(document, ensure_ascii=False)
        found = json.loads(redact_json(pl.Series("t", [text]))[0])
        values = found["a"] if "a" in document and document["a"] is texts else list(found.values())
        assert not any("zoe@example.com" in value or "555 010 0123" in value for value in values)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(_PIECES, max_size=9).map("".join)), max_size=9))
def test_texts_when_many_then_each_as_alone_and_in_place(texts: list[str | None]) -> None:
    together = redact(pl.Series("t", texts, dtype=pl.String)).to_list()
    alone = [redact(pl.Series("t", [text], dtype=pl.String))[0] for text in texts]
    assert together == alone
    assert [text is None for text in together] == [text is None for text in texts]
