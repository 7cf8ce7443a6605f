"""Names of people as keyed hashes: one form for each way to write a name, and AES-CMAC (RFC 4493) of many at once.

Whoever has the key can ask whether somebody is among the hashes, and nobody else. A hash has 64 bits: a wrong find in
a thousand files of a million names each has a chance of one in ten billion.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from export_pipeline.model.dataset import Subject
from export_pipeline.model.errors import Rejected

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

#: A block of AES (bytes), and what doubling in its field reduces by.
_BLOCK = 16
_REDUCTION = 0x87
#: What a phone number is written with, and how many digits it has (with 00 or (0) a few more than its 15).
_PHONE = re.compile(r"[\s0-9+()./-]+")
_PHONE_DIGITS = range(5, 19)


class SubjectKey:
    """A key, by its secret. `id` tells keys apart and says nothing about the secret."""

    def __init__(self, secret: str) -> None:
        derived = hashlib.blake2b(secret.encode(), digest_size=40, person=b"subject index").digest()
        self._key = derived[:32]
        self.id = derived[32:]

    def __repr__(self) -> str:
        return f"SubjectKey({self.id.hex()})"

    def hashes(self, names: pl.Series) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The first 64 bits of the AES-CMAC of each name (none is null), as numbers.

        Vectorised: one call into AES for a block of all names. Measured: 1,000,000 phone numbers 0.15 s; one by one
        HMAC-SHA256 takes 1.4 s and keyed BLAKE2b 0.5 s, with Python's lock held.
        """
        import numpy as np
        import polars as pl
        from Cryptodome.Cipher import AES

        found = np.empty(len(names), dtype=np.uint64)
        if not len(names):
            return found
        cipher = AES.new(self._key, AES.MODE_ECB)
        zero = int.from_bytes(cipher.encrypt(bytes(_BLOCK)), "big")
        whole, padded = (_bytes(key) for key in (_doubled(zero), _doubled(_doubled(zero))))
        texts = names.cast(pl.Binary)
        sizes = texts.bin.size().to_numpy()
        order = np.argsort(sizes, kind="stable")
        data = np.frombuffer(b"".join(texts.gather(order).to_list()), dtype=np.uint8)
        done = start = 0
        # Names of one length lie in the data like the rows of a table.
        for size, count in zip(*(part.tolist() for part in np.unique(sizes, return_counts=True)), strict=True):
            width = max(-(-size // _BLOCK), 1) * _BLOCK
            message = np.zeros((count, width), dtype=np.uint8)
            message[:, :size] = data[start : start + count * size].reshape(count, size)
            if size < width:
                message[:, size] = 0x80
            message[:, -_BLOCK:] ^= whole if size == width else padded
            state = np.zeros((count, _BLOCK), dtype=np.uint8)
            for place in range(0, width, _BLOCK):
                encrypted = cipher.encrypt((state ^ message[:, place : place + _BLOCK]).tobytes())
                state = np.frombuffer(encrypted, dtype=np.uint8).reshape(-1, _BLOCK)
            found[order[done : done + count]] = np.ascontiguousarray(state[:, :8]).view(">u8").ravel()
            done, start = done + count, start + count * size
        return found


def names_of(values: pl.Series, kind: Subject) -> pl.Series:
    """The values in the one form of their kind, each once, with a mark of the kind before it. What is empty is left
    out: phone numbers are their digits with the country's code, all else is without spaces around it and in lower
    case."""
    import polars as pl

    texts = values.drop_nulls().cast(pl.String).unique()
    if kind is Subject.PHONE:
        # The zero in parentheses is for callers at home; 00 stands for the plus sign.
        texts = texts.str.replace_all("(0)", "", literal=True).str.replace(r"^\s*00", "")
        texts = texts.str.replace_all(r"[^0-9]", "")
    else:
        texts = texts.str.strip_chars().str.to_lowercase()
    texts = texts.filter(texts != "")
    return kind.value[0] + ":" + texts


def hashes_of_subject(key: SubjectKey, subject: str) -> list[int]:
    """What a person may be found by, who is named by a phone number, an e-mail address or an id. Raises Rejected where
    that names nobody."""
    import polars as pl

    if not subject.strip() or "\0" in subject:
        raise Rejected("nobody is named: give a phone number with its country's code, an e-mail address, or an id")
    kinds = [Subject.ID]
    if "@" in subject:
        kinds.append(Subject.EMAIL)
    elif _PHONE.fullmatch(subject) and len(re.findall("[0-9]", subject)) in _PHONE_DIGITS:
        kinds.append(Subject.PHONE)
    names = [name for kind in kinds for name in names_of(pl.Series([subject]), kind)]
    return [int(number) for number in key.hashes(pl.Series(names))]


def _doubled(number: int) -> int:
    """The number times two in the field of 128 bits, as RFC 4493 makes its subkeys."""
    shifted = (number << 1) & ((1 << 128) - 1)
    return shifted ^ _REDUCTION if number >> 127 else shifted


def _bytes(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    import numpy as np

    return np.frombuffer(number.to_bytes(_BLOCK, "big"), dtype=np.uint8)
