"""Deflate, by which gzip, ZIP, Excel and one of Avro's codecs compress: each level by the library that is best at it.

Measured on eight files of ours and of others (CSV, JSON Lines), beside zlib at level 6: ISA-L takes 7 to 10 % of the
time for 1 % fewer to 28 % more bytes, where zlib-ng at level 1 takes 12 to 17 % for 44 to 69 % more; zlib-ng at level 6
takes 51 to 72 % for 7 % fewer to 5 % more.
"""

from __future__ import annotations

from typing import IO, Any, Protocol, cast

#: Where nobody says another.
USUAL_LEVEL = 6
#: zlib's words for the largest window, with gzip's header and trailer around the data, and with nothing around them.
GZIP_WINDOW, RAW_WINDOW = 31, -15
#: What ISA-L is used for. It has a level 3, at which zlib-ng makes smaller files in the same time.
_BY_ISAL = (1, 2)
#: zlib-ng's level 9 makes larger files than its 8, by 1 to 11 % on those.
_ZLIB_NG_SMALLEST = 8


class Deflater(Protocol):
    """Compresses what it is given, piece by piece."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """What is ready of the pieces so far."""

    def flush(self) -> bytes:
        """The rest, once."""


def deflater(level: int, window: int) -> Deflater:
    """A new compressor of the level, 1 (quick) to 9 (small)."""
    if level in _BY_ISAL:
        from isal import isal_zlib

        return isal_zlib.compressobj(level, isal_zlib.DEFLATED, window)
    from zlib_ng import zlib_ng

    return zlib_ng.compressobj(min(level, _ZLIB_NG_SMALLEST), zlib_ng.DEFLATED, window)


def deflate_entry(entry: IO[bytes], level: int) -> None:
    """Has a file in a ZIP archive, just opened for writing, compressed so: zipfile and pyzipper know zlib only."""
    cast(Any, entry)._compressor = deflater(level, RAW_WINDOW)
