"""How people are named in the index: one form for each way to write a name, under a keyed hash that is a standard."""

import random

import polars as pl
import pytest
from Cryptodome.Cipher import AES
from Cryptodome.Hash import CMAC

from export_pipeline.flow.subject_key import SubjectKey, hashes_of_subject, names_of
from export_pipeline.model.dataset import Subject
from export_pipeline.model.errors import Rejected

SECRET = "a secret that nobody can guess, of 40 ch"
KEY = SubjectKey(SECRET)


def test_hashes_when_of_any_lengths_then_the_beginnings_of_their_cmac() -> None:
    random.seed(7)
    names = ["".join(random.choice("aé日😀+0") for _ in range(length)) for length in [*range(70), 333]]
    expected = []
    for name in names:
        mac = CMAC.new(KEY._key, ciphermod=AES)
        mac.update(name.encode())
        expected.append(int.from_bytes(mac.digest()[:8], "big"))
    assert KEY.hashes(pl.Series(names)).tolist() == expected
    assert KEY.hashes(pl.Series(names[:1])).tolist() == expected[:1]
    assert KEY.hashes(pl.Series([], dtype=pl.String)).tolist() == []


def test_key_when_shown_then_without_the_secret_and_another_secret_is_another_key() -> None:
    assert SECRET not in repr(KEY) and KEY._key.hex() not in repr(KEY)
    other = SubjectKey(SECRET + "x")
    assert other.id != KEY.id
    assert other.hashes(pl.Series(["p:1"])).tolist() != KEY.hashes(pl.Series(["p:1"])).tolist()


@pytest.mark.parametrize(
    ("kind", "written", "name"),
    [
        (Subject.PHONE, "+15550100123", "p:15550100123"),
        (Subject.PHONE, " +1 (555) 010-0123 ", "p:15550100123"),
        (Subject.PHONE, "001 555.010.0123", "p:15550100123"),
        (Subject.PHONE, "+49 (0)89 1234567", "p:49891234567"),
        (Subject.EMAIL, " Zoë@Example.COM\n", "e:zoë@example.com"),
        (Subject.ID, "6F1C1F6E-2D0A-5C0E-9A44-0F3F0F9F6A10", "i:6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"),
        (Subject.ID, "00042", "i:00042"),
    ],
)
def test_names_when_written_in_other_ways_then_one_form(kind: Subject, written: str, name: str) -> None:
    assert names_of(pl.Series([written, None, written, " "]), kind).to_list() == [name]


@pytest.mark.parametrize(
    ("asked", "kind", "held"),
    [
        ("+1 (555) 010-0123", Subject.PHONE, "+15550100123"),
        ("0042", Subject.ID, "0042"),
        ("555 010 0123", Subject.ID, "555 010 0123"),
        ("Zoë@example.com", Subject.EMAIL, "ZOË@EXAMPLE.COM"),
        ("manager", Subject.ID, "Manager"),
    ],
)
def test_subject_when_named_then_found_in_each_kind_that_it_may_be_of(asked: str, kind: Subject, held: str) -> None:
    [hashed] = KEY.hashes(names_of(pl.Series([held]), kind)).tolist()
    assert hashed in hashes_of_subject(KEY, asked)
    assert hashed not in hashes_of_subject(KEY, asked + "1")


@pytest.mark.parametrize("asked", ["", "  \n", "a\0b"])
def test_subject_when_nobody_is_named_then_rejected(asked: str) -> None:
    with pytest.raises(Rejected, match="nobody is named"):
        hashes_of_subject(KEY, asked)
