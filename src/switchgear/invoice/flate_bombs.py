"""PDF files with a stream that unpacks to more than anybody can hold. Source: RELIABILITY 1, fault 45."""

import base64
import binascii
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from switchgear.sdk import InputRejected, Limits

#: Where the bytes of a stream begin.
_STREAM: Final = re.compile(rb"stream\r?\n")
#: How it is packed, in the dictionary before it.
_FILTER: Final = re.compile(rb"/Filter\s*(\[[^\]]*\]|/\w+)")
_NAME: Final = re.compile(rb"/(\w+)")
_LONGEST_DICTIONARY: Final = 1024
#: Flate makes at most 1,032 bytes of one; packed several times over, it makes more.
_FLATE_RATIO: Final = 1032
_MOST_LAYERS: Final = 8
_PIECE: Final = 1 << 20


def refuse_bomb(data: bytes, limits: Limits) -> None:
    """Raise `InputRejected("unpacked_size")` when one stream unpacks to more than the limit.

    Libraries unpack a stream in one piece: PDFium aborts the process when that does not fit into its memory. Flate is
    seen also when it is written in letters or digits (ASCII85, ASCIIHex). What is encrypted or packed in runs or codes
    (RunLength, LZW) is not seen here; the memory cap and the deadline of the process end it.
    """
    for mark in _STREAM.finditer(data):
        begin, end = mark.end(), data.find(b"endstream", mark.end())
        packed = memoryview(data)[begin : end if end >= 0 else len(data)]
        packed = _without_letters(data[max(0, mark.start() - _LONGEST_DICTIONARY) : mark.start()], packed)
        large = len(packed) * _FLATE_RATIO > limits.max_unpacked_bytes
        if _is_flate(bytes(packed[:2])) and (large or _is_flate(_start_of(packed))):
            _refuse_layers((bytes(packed[at : at + _PIECE]) for at in range(0, len(packed), _PIECE)), limits)


def _without_letters(dictionary: bytes, written: memoryview) -> memoryview:
    """The bytes of a stream as they are, when its dictionary says that letters or digits stand for packed bytes."""
    chain = _FILTER.findall(dictionary.rpartition(b"obj")[2])
    names = _NAME.findall(chain[-1]) if chain else []
    count = next((place for place, name in enumerate(names) if name not in _DECODERS), len(names))
    if names[count : count + 1] not in ([b"FlateDecode"], [b"Fl"]):
        return written
    packed = written
    for name in names[:count]:
        try:
            packed = memoryview(_DECODERS[name](bytes(packed)))
        except ValueError:  # these are no such letters
            return written
    return packed


def _from_letters(written: bytes) -> bytes:
    return base64.a85decode(written.partition(b"~")[0], ignorechars=b" \t\n\r\f\v\0")


def _from_digits(written: bytes) -> bytes:
    digits = b"".join(written.partition(b">")[0].split())
    return binascii.unhexlify(digits + b"0" * (len(digits) % 2))


_DECODERS: Final = {
    b"ASCII85Decode": _from_letters,
    b"A85": _from_letters,
    b"ASCIIHexDecode": _from_digits,
    b"AHx": _from_digits,
}


def _refuse_layers(pieces: Iterable[bytes], limits: Limits) -> None:
    for _ in range(_MOST_LAYERS):
        pieces = _unpacked(pieces, limits.max_unpacked_bytes)
        first = next(pieces, b"")
        pieces = itertools.chain((first,), pieces)
        if not _is_flate(first):
            break
    for _ in pieces:
        pass


def _unpacked(pieces: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Unpack one layer of Flate piece by piece, up to where it breaks; a layer of more than *most* bytes is refused."""
    flate, size = zlib.decompressobj(), 0
    for packed in pieces:
        while packed:
            try:
                piece = flate.decompress(packed, _PIECE)
            except zlib.error:
                return
            size += len(piece)
            if size > most:
                raise InputRejected(
                    "unpacked_size",
                    f"A part of the PDF unpacks to more than {most} bytes, the limit. Print the document to a new PDF "
                    "and send that.",
                )
            yield piece
            packed = flate.unconsumed_tail
        if flate.eof:
            return


def _start_of(packed: memoryview) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed[:256], 2)
    except zlib.error:
        return b""


def _is_flate(start: bytes) -> bool:
    """Whether it begins like a Flate stream: method 8, and a header with the right check bits. RFC 1950, 2.2."""
    return len(start) > 1 and start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
