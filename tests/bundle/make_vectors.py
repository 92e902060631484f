"""Makes tests/bundle/vectors.json, which the decoders of Python and of the app are both held against.

    .venv/bin/python tests/bundle/make_vectors.py

Streams are put together by hand here, so that the encoder has no part in them.
"""

import base64
import json
import struct
from pathlib import Path

import zstandard

VECTORS = Path(__file__).parent / "vectors.json"


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19, write_content_size=False).compress(content)


def record(kind: int, size: int, payload: bytes) -> bytes:
    assert size < 2**14
    assert len(payload) < 2**14
    numbers = [(n & 127 | 128, n >> 7) if n > 127 else (n,) for n in (size, len(payload))]
    return bytes([kind, *numbers[0], *numbers[1]]) + payload


def sparse(item: int, gaps: bytes, values: bytes) -> bytes:
    coded = zstd(gaps)
    return bytes([item, len(coded)]) + coded + zstd(values)


def scaled(offset: int, factor: float) -> bytes:
    assert offset < 2**14
    number = bytes([offset & 127 | 128, offset >> 7]) if offset > 127 else bytes([offset])
    return number + struct.pack("<f", factor)


TEXT = b"weights " * 40
PLANES = bytes([item >> shift & 255 for shift in (0, 8, 16, 24) for item in range(1000, 1300, 3)])
NUMBERS = b"".join(item.to_bytes(4, "little") for item in range(1000, 1300, 3))
BOOK = b"\x01\x02\xff\x00\x00\x7f"
INDICES = bytes([0, 2, 1, 1, 0, 2, 2, 2])
GAPS = bytes([2, 255, 255, 0, 5, 255])
AFTER = [2, 2 + 1 + 255 + 255, 2 + 1 + 255 + 255 + 1 + 5]
VALUES = b"\x11\x00\x00\x22\x33\x44"


# 1 + 1/2^23 and 1 + 3/2^23, whose products with 1.5 lie halfway between two floats and go to the even one, up, then
# down; the smallest float above 0, whose product does; -0; 2^127, whose product is not far from the largest float.
FLOATS = struct.pack("<5I", 0x3F800001, 0x3F800003, 0x00000001, 0x80000000, 0x7F000000)
PRODUCTS = struct.pack("<5I", 0x3FC00002, 0x3FC00004, 0x00000002, 0x80000000, 0x7F400000)
BEFORE = record(1, 20, FLOATS)


def spread(size: int) -> bytes:
    content = bytearray(size)
    for place, at in enumerate(AFTER):
        content[2 * at : 2 * at + 2] = VALUES[2 * place : 2 * place + 2]
    return bytes(content)


GOOD: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "zeros": (record(0, 300, b""), bytes(300)),
    "stored": (record(1, 5, b"\x00\x80abc"), b"\x00\x80abc"),
    "zstd": (record(2, len(TEXT), zstd(TEXT)), TEXT),
    "planes of 4 bytes": (record(3, len(NUMBERS), b"\x04" + zstd(PLANES)), NUMBERS),
    "palette of 3 pairs": (
        record(4, 16, b"\x02\x02" + BOOK + zstd(INDICES)),
        b"".join(BOOK[2 * i : 2 * i + 2] for i in INDICES),
    ),
    "sparse pairs with long gaps": (record(5, 1600, sparse(2, GAPS, VALUES)), spread(1600)),
    "sparse with nothing in it": (record(5, 64, sparse(1, b"", b"")), bytes(64)),
}
WITHOUT_SCALED = (
    b"".join(coded for coded, _ in GOOD.values()) + record(0, 3, b""),
    b"".join(content for _, content in GOOD.values()) + bytes(3),
)
"""2,708 bytes, so that floats behind them begin where they may."""
GOOD |= {
    "scaled floats": (BEFORE + record(6, 20, scaled(0, 1.5)), FLOATS + PRODUCTS),
    "scaled, not all and not from the first": (BEFORE + record(6, 8, scaled(4, 1.5)), FLOATS + PRODUCTS[4:12]),
    "scaled, from an odd place on": (
        BEFORE + record(1, 3, b"odd") + record(6, 20, scaled(0, 1.5)),
        FLOATS + b"odd" + PRODUCTS,
    ),
    "scaled from what was scaled": (
        record(1, 8, struct.pack("<2f", 3, -5)) + record(6, 8, scaled(0, -0.5)) + record(6, 12, scaled(4, 4)),
        struct.pack("<7f", 3, -5, -1.5, 2.5, -20, -6, 10),
    ),
    "nothing scaled": (record(6, 0, scaled(0, 2)), b""),
    "one after the other": (
        WITHOUT_SCALED[0] + BEFORE + record(6, 20, scaled(2708, 1.5)),
        WITHOUT_SCALED[1] + FLOATS + PRODUCTS,
    ),
}

FRAME = b"\x28\xb5\x2f\xfd"
BOMB = FRAME + b"\x00\x38" + (b"\x02\x00\x10\x00" * 15 + b"\x03\x00\x10\x00")
"""A frame of 16 blocks, each a zero 131,072 times: 2 MiB."""

BAD: dict[str, bytes] = {
    "another format": b"PKZ1" + record(0, 1, b""),
    "a later version": b"PLT2" + record(0, 1, b""),
    "nothing at all": b"",
    "cut short in the magic": b"PL",
    "cut short in a number": b"PLT1\x00\x81",
    "cut short in a payload": b"PLT1" + record(1, 5, b"hello")[:-1],
    "a number without an end": b"PLT1\x01" + b"\xff" * 9,
    "a record above the limit": b"PLT1\x00\x81\x80\x40\x00",
    "more than the blob may hold": b"PLT1" + record(0, 9000, b""),
    "an unknown kind": b"PLT1" + record(7, 1, b"a"),
    "zeros with a payload": b"PLT1" + record(0, 1, b"a"),
    "stored of another size": b"PLT1" + record(1, 4, b"hello"),
    "zstd of too few bytes": b"PLT1" + record(2, 321, zstd(TEXT)),
    "zstd of too many bytes": b"PLT1" + record(2, 319, zstd(TEXT)),
    "no zstd": b"PLT1" + record(2, 5, b"hello"),
    "nothing where zstd should be": b"PLT1" + record(2, 0, b""),
    "zstd that goes on for 2 MiB": b"PLT1" + record(2, 1000, BOMB),
    "zstd that says 2 GiB": b"PLT1" + record(2, 3, FRAME + b"\xa0\xff\xff\xff\x7f\x19\x00\x00abc"),
    "zstd that needs 256 MiB": b"PLT1" + record(2, 3, FRAME + b"\x00\x90\x19\x00\x00abc"),
    "planes without an item": b"PLT1" + record(3, 4, b""),
    "items of 0 bytes": b"PLT1" + record(3, 4, b"\x00" + zstd(b"abcd")),
    "items of 17 bytes": b"PLT1" + record(3, 34, b"\x11" + zstd(bytes(34))),
    "items that do not fit": b"PLT1" + record(3, 5, b"\x02" + zstd(b"abcde")),
    "planes cut short": b"PLT1" + record(3, 4, b"\x02" + zstd(b"abc")),
    "an index beyond the codebook": b"PLT1" + record(4, 4, b"\x02\x00ab" + zstd(b"\x00\x01")),
    "a codebook cut short": b"PLT1" + record(4, 4, b"\x02\xffab" + zstd(b"\x00\x00")),
    "too few indices": b"PLT1" + record(4, 4, b"\x02\x00ab" + zstd(b"\x00")),
    "a value beyond the end": b"PLT1" + record(5, 4, sparse(1, b"\x04", b"a")),
    "gaps without values": b"PLT1" + record(5, 4, sparse(1, b"\x00\x00", b"a")),
    "values without gaps": b"PLT1" + record(5, 4, sparse(1, b"\x00", b"ab")),
    "more gaps than items": b"PLT1" + record(5, 4, sparse(1, b"\x00" * 5, b"abcde")),
    "gaps cut short": b"PLT1" + record(5, 4, b"\x01\x7f" + zstd(b"\x00") + zstd(b"a")),
    "scaled before there is anything": b"PLT1" + record(6, 4, scaled(0, 1)),
    "scaled from itself": b"PLT1" + BEFORE + record(6, 4, scaled(20, 1)),
    "scaled from partly itself": b"PLT1" + BEFORE + record(6, 8, scaled(16, 1)),
    "scaled from far ahead": b"PLT1" + BEFORE + record(6, 4, b"\xfc\xff\xff\xff\x0f" + bytes(4)),
    "half a float scaled": b"PLT1" + BEFORE + record(6, 6, scaled(0, 1)),
    "scaled from within a float": b"PLT1" + BEFORE + record(6, 4, scaled(2, 1)),
    "a factor cut short": b"PLT1" + BEFORE + record(6, 4, scaled(0, 1)[:-1]),
    "a factor too long": b"PLT1" + BEFORE + record(6, 4, scaled(0, 1) + b"\x00"),
    "scaled by nothing": b"PLT1" + BEFORE + record(6, 4, b""),
    "an offset without an end": b"PLT1" + BEFORE + record(6, 4, b"\xff" * 9),
    "scaled by infinity": b"PLT1" + BEFORE + record(6, 4, scaled(0, float("inf"))),
    "scaled by no number": b"PLT1" + BEFORE + record(6, 4, scaled(0, float("nan"))),
    "nothing scaled by no number": b"PLT1" + BEFORE + record(6, 0, scaled(0, float("nan"))),
    "scaled beyond the largest float": b"PLT1" + BEFORE + record(6, 4, scaled(16, 2)),
    "what is no number scaled": b"PLT1" + record(1, 4, struct.pack("<f", float("nan"))) + record(6, 4, scaled(0, 1)),
}

LIMIT = 8000
"""Bytes that a blob of the vectors may have."""


def main() -> None:
    def text(content: bytes) -> str:
        return base64.b64encode(content).decode()

    good = [{"name": n, "coded": text(b"PLT1" + coded), "blob": text(blob)} for n, (coded, blob) in GOOD.items()]
    bad = [{"name": name, "coded": text(coded)} for name, coded in BAD.items()]
    VECTORS.write_text(json.dumps({"limit": LIMIT, "good": good, "bad": bad}, indent=1) + "\n")


if __name__ == "__main__":
    main()
