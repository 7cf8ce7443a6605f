"""The blocks of an Avro object container file, compressed one by one as they pass, with the level that was asked for.

The library that makes the blocks has no levels, and a deflate that takes more than twice as long. The layout is that
of the Avro 1.11 specification, "Object Container Files": a header (magic, a map of metadata, a sync marker of 16
bytes), then blocks (how many rows, how many bytes, the bytes, the sync marker). No rows and no schema here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from export_pipeline.deflate import RAW_WINDOW, USUAL_LEVEL, deflater
from export_pipeline.formats._sink import SinkTarget
from export_pipeline.model.errors import Broken

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
_CODEC = "avro.codec"

#: What makes a block's stored bytes of its plain ones.
Compress = Callable[[memoryview], Any]


class BlockTarget(SinkTarget):
    """A target for a container file whose blocks are not compressed; passes it on with blocks that are. One block is in
    memory at a time."""

    def __init__(self, target: BinaryIO, codec: str, compress: Compress) -> None:
        super().__init__(target)
        self._codec = codec
        self._compress = compress
        self._gathered = bytearray()
        self._has_header = False

    def write(self, data: bytes) -> int:
        """Takes all of `data`, and hands on what is complete. Raises whatever the target raises."""
        self._gathered += data
        while part := self._part():
            super().write(part)
        return len(data)

    def end(self) -> None:
        """Raises Broken where the file stopped in the middle of a block."""
        if self._gathered or not self._has_header:
            raise Broken("the file could not be written: its last block is not whole; try again")

    def _part(self) -> bytes:
        """The next whole part, as it is to be written; empty where more has to come first."""
        try:
            if self._has_header:
                part, end = self._block()
            else:
                part, end = self._header()
                self._has_header = True
        except IndexError:
            return b""
        del self._gathered[:end]
        return part

    def _header(self) -> tuple[bytes, int]:
        """The header, which names the codec, and where the gathered one ends. Raises IndexError where it does not."""
        metadata, place = {}, len(_MAGIC)
        while True:
            count, place = _long(self._gathered, place)
            if count == 0:
                break
            if count < 0:
                count, (_, place) = -count, _long(self._gathered, place)
            for _ in range(count):
                name, place = _bytes(self._gathered, place)
                metadata[name.decode()], place = _bytes(self._gathered, place)
        sync = _slice(self._gathered, place, _SYNC_BYTES)
        return _header(metadata | {_CODEC: self._codec.encode()}, sync), place + _SYNC_BYTES

    def _block(self) -> tuple[bytes, int]:
        """The first block, compressed, and where the gathered one ends. Raises IndexError where it does not."""
        rows, place = _long(self._gathered, 0)
        size, start = _long(self._gathered, place)
        sync = _slice(self._gathered, start + size, _SYNC_BYTES)
        with memoryview(self._gathered) as gathered, gathered[start : start + size] as plain:
            stored = self._compress(plain)
            return b"".join((_encoded(rows), _encoded(len(stored)), stored, sync)), start + size + _SYNC_BYTES


def compressor(codec: str, level: int | None) -> Compress:
    """What compresses the blocks of the codec, by Avro's name for it; None is the codec's own usual level."""
    import cramjam
    from zlib_ng import zlib_ng

    match codec:
        case "deflate":
            return lambda plain: _deflated(plain, level or USUAL_LEVEL)
        case "zstandard":
            return lambda plain: cramjam.zstd.compress(plain, level)
        case "snappy":
            # The checksum is of the plain bytes.
            return lambda plain: bytes(cramjam.snappy.compress_raw(plain)) + zlib_ng.crc32(plain).to_bytes(4, "big")
        case _:
            return bytes


def _deflated(plain: memoryview, level: int) -> bytes:
    block = deflater(level, RAW_WINDOW)
    return block.compress(plain) + block.flush()


def _header(metadata: Mapping[str, bytes], sync: bytes) -> bytes:
    parts = [_MAGIC, _encoded(len(metadata))]
    for name, value in metadata.items():
        for item in (name.encode(), value):
            parts += [_encoded(len(item)), item]
    return b"".join([*parts, _encoded(0), sync])


def _long(data: bytearray, place: int) -> tuple[int, int]:
    """A number in Avro's encoding (zigzag, seven bits a byte, the lowest first), and where it ends."""
    number = shift = 0
    while True:
        byte = data[place]
        number |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), place


def _encoded(number: int) -> bytes:
    """The number in Avro's encoding; it is not negative."""
    rest, encoded = number << 1, bytearray()
    while rest >= 0x80:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _bytes(data: bytearray, place: int) -> tuple[bytes, int]:
    size, start = _long(data, place)
    return _slice(data, start, size), start + size


def _slice(data: bytearray, start: int, size: int) -> bytes:
    """So many bytes. Raises IndexError where they are not there yet."""
    if start + size > len(data):
        raise IndexError("more has to come first")
    return bytes(data[start : start + size])
