"""Damaged files, drawn at random: each is refused with the right error, or is what it was.

FUZZ_SECONDS says how long.
"""

import base64
import io
import json
import os
import random
import time
from pathlib import Path

import pytest
import zstandard

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.records import decode_records
from pocketlens.errors import BundleError

SECONDS = float(os.environ.get("FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A copy with a few changes: bytes flipped, cut out, put in, repeated."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        run = draw.randint(1, 8)
        match draw.randrange(5):
            case 0 if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + run] = draw.randbytes(run)
            case 2:
                del changed[at : at + run]
            case 3:
                changed[at:at] = draw.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * run
            case _:
                changed[at:at] = changed[:at][-run:]
    return bytes(changed)


def test_streams_of_records() -> None:
    draw = random.Random(SEED)
    corpus = [base64.b64decode(v["coded"]) for v in VECTORS["good"] + VECTORS["bad"]]
    end = time.monotonic() + SECONDS
    rounds = 0
    while rounds < 200 or time.monotonic() < end:
        rounds += 1
        coded = damaged(draw.choice(corpus), draw)
        try:
            assert len(decode_records(io.BytesIO(coded), VECTORS["limit"])) <= VECTORS["limit"]
        except (BundleError, zstandard.ZstdError):
            pass
        except Exception as error:
            pytest.fail(f"FUZZ_SEED={SEED}, round {rounds}: {error!r} of {coded!r}")


def test_bundles(every_kind_lens: Path, tmp_path: Path) -> None:
    draw = random.Random(SEED)
    content = every_kind_lens.read_bytes()
    with open_bundle(every_kind_lens) as bundle:
        wanted = {path: bundle.read(path) for path in bundle.manifest.members}
    place = tmp_path / "damaged.lens"
    end = time.monotonic() + SECONDS
    rounds = 0
    while rounds < 100 or time.monotonic() < end:
        rounds += 1
        place.write_bytes(damaged(content, draw))
        try:
            with open_bundle(place) as bundle:
                assert {path: bundle.read(path) for path in bundle.manifest.members} == wanted
        except BundleError:
            pass
        except Exception as error:
            pytest.fail(f"FUZZ_SEED={SEED}, round {rounds}: {error!r}; the file is {place}")
