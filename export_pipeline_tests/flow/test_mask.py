"""What each policy makes of values, one by one."""

import hashlib
import hmac
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from export_pipeline.flow.mask import derive_key, mask_values
from export_pipeline.model.access import Policy
from export_pipeline.model.dataset import BOOLEAN, DATE, FLOAT, INTEGER, TEXT, TIMESTAMP, UUID, Column, Type, decimal
from export_pipeline.model.errors import Broken
from export_pipeline.model.format import polars_type
from export_pipeline.model.masking import Mask
from export_pipeline.settings import SettingsError, load_settings

KEY = "k" * 32


def apply(policy: Policy, kind: Type, values: list[Any], **more: Any) -> list[Any]:
    free_text = more.pop("free_text", False)
    column = Column("c", kind, "c", "", free_text=free_text, spread=free_text)
    mask = Mask(column, policy, "", **more)
    found = mask_values(pl.Series("c", values, dtype=polars_type(column)), mask)
    assert (found.name, found.dtype) == ("c", polars_type(mask.delivered))
    return found.to_list()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+15550100123", "+1******0123"),
        ("+351 912 345 678", "+3******5678"),
        ("(555) 010-0123", "5******0123"),
        ("5550123", "5******23"),
        ("zoe@example.com", "z***@example.com"),
        (" Zoë.M@example.com ", "Z***@example.com"),
        ("Zoë Müller", "Z***"),
        ("王小明", "王***"),
        ("X", "***"),
        ("a@b@c", "a***"),
        ("12", "1***"),
        ("", ""),
        (None, None),
    ],
)
def test_mask_when_applied_then_shows_a_part(value: str | None, expected: str | None) -> None:
    assert apply(Policy.MASK, TEXT, [value]) == [expected]


def test_truncate_when_applied_then_the_first_characters_or_digits() -> None:
    assert apply(Policy.TRUNCATE, TEXT, ["Zoë Müller", "a", None], length=3) == ["Zoë", "a", None]
    assert apply(Policy.TRUNCATE, TEXT, ["+15550100123 is hers"], length=9, free_text=True) == ["[phone] i"]
    assert apply(Policy.TRUNCATE, INTEGER, [12345, -98765, 7, 0, None], length=2) == [12000, -98000, 7, 0, None]
    prices = ["1234.50", "-0.07", "999.99", "10.05"]
    expected = ["1200.00", "-0.07", "990.00", "10.00"]
    assert apply(Policy.TRUNCATE, decimal(9, 2), list(map(Decimal, prices)), length=2) == list(map(Decimal, expected))


def test_redact_when_numbers_then_null_for_what_would_be_blanked_out_as_text() -> None:
    contact = [15550100123, -15550100123, 4111111111111111]
    other = [0, -7, 1290002400, 12345678, 4111111111111112, None]
    assert apply(Policy.REDACT, INTEGER, [*contact, *other]) == [None] * 3 + other
    prices = [None if value is None else Decimal(value).scaleb(0).quantize(Decimal("0.1")) for value in other]
    wide = [Decimal(f"{value}.0") for value in contact]
    assert apply(Policy.REDACT, decimal(20, 1), [*wide, *prices]) == [None] * 3 + prices
    floats = [0.5, -1234567.25, 12345678.0, 1290002400.0, 1e60, float("inf"), None]
    assert apply(Policy.REDACT, FLOAT, [*map(float, contact), 6e15 * 1000, *floats]) == [None] * 4 + floats
    assert apply(Policy.REDACT, BOOLEAN, [True, None]) == [True, None]
    assert apply(Policy.TRUNCATE, INTEGER, [15550100123, 7654321], length=6, free_text=True) == [None, 7654320]


def test_month_when_applied_then_its_first_day_in_utc() -> None:
    moments = [datetime(2010, 11, 30, 23, 59, 59, tzinfo=UTC), None]
    assert apply(Policy.MONTH, TIMESTAMP, moments) == [date(2010, 11, 1), None]
    assert apply(Policy.MONTH, DATE, [date(2010, 2, 28)]) == [date(2010, 2, 1)]


def test_hash_when_applied_then_keyed_blake2b_of_the_value() -> None:
    key = derive_key(KEY, "Partner Ltd.")
    assert key == hmac.digest(KEY.encode(), b"export_pipeline hash 1\0Partner Ltd.", "sha256")
    expected = hashlib.blake2b(b"+15550100123", key=key, digest_size=16).hexdigest()
    assert apply(Policy.HASH, TEXT, ["+15550100123", None, "+15550100123"], key=key) == [expected, None, expected]
    one, other = apply(Policy.HASH, TEXT, ["Zoe@Example.com", "zoe@example.com"], key=key)
    assert one == other
    assert apply(Policy.HASH, TEXT, [None], key=key) == [None]
    assert len({*apply(Policy.HASH, TEXT, ["a", "A"], key=key), *apply(Policy.HASH, INTEGER, [1, 2], key=key)}) == 4
    identity = "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"
    assert apply(Policy.HASH, UUID, [identity], key=key) == apply(Policy.HASH, TEXT, [identity], key=key)


def test_drop_when_it_comes_this_far_then_broken() -> None:
    with pytest.raises(Broken, match="c was to be left out"):
        apply(Policy.DROP, TEXT, ["a"])


def test_key_when_shown_then_not_told() -> None:
    mask = Mask(Column("c", TEXT, "c", ""), Policy.HASH, "asked for", key_id="k1", key=derive_key(KEY, ""))
    shown = load_settings(DATABASE_URL="postgresql://x", EXPORT_HASH_KEYS={"k1": KEY})
    assert KEY not in repr(shown) and KEY not in str(shown.hash_keys)
    assert repr(mask.key)[2:-1] not in repr(mask) and "key=" not in repr(mask)
    assert mask.described == {"policy": "hash", "reason": "asked for", "key_id": "k1"}


@pytest.mark.parametrize("name", ["EXPORT_HASH_KEYS", "EXPORT_ZIP_PASSWORDS"])
def test_keys_when_no_json_then_one_sentence_without_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f'{{"k1":"{KEY}"')
    with pytest.raises(SettingsError) as caught:
        load_settings(DATABASE_URL="postgresql://x")
    assert str(caught.value) == f'{name} is not JSON such as {{"2026": "…"}}; mind the quotes'
    assert caught.value.__suppress_context__ and KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"k1": "tooshortkey"}, "EXPORT_HASH_KEYS is wrong: the key k1 is shorter than 32 characters"),
        ({"a b": KEY}, "EXPORT_HASH_KEYS is wrong: the id of a key is made of"),
    ],
)
def test_keys_when_wrong_then_one_sentence_without_them(keys: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings(DATABASE_URL="postgresql://x", EXPORT_HASH_KEYS=keys)
    assert not any(key in str(caught.value) for key in keys.values())
