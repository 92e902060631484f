"""A process of its own that decodes a bundle's weights, or opens the bundle, and prints what that took as JSON.

    python benchmarks/packing/fresh.py decode BUNDLE | open BUNDLE PHOTO

Free of torch, on one core. Linux alone tells a process's peak memory anew (proc(5), clear_refs).
"""

import io
import json
import os
import re
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from pocketlens.bundle import open_bundle
from pocketlens.bundle.coding import decode
from pocketlens.bundle.records import decode_records

WEIGHTS = "weights.bin"

RUNS = 15


def main() -> None:
    what, bundle, *photo = sys.argv[1], *map(Path, sys.argv[2:])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(json.dumps(decoding(bundle) if what == "decode" else opening(bundle, photo[0])))


def decoding(bundle: Path) -> dict[str, float]:
    """Seconds of decoding the weights, bare and with the check of their SHA-256, and the peak memory of a read."""
    with open_bundle(bundle) as opened:
        opened.read(opened.manifest.graphs[0].graph)  # whatever is imported or set up by the first read
        member = opened.manifest.members[WEIGHTS]
        before = _memory("VmRSS")
        _forget_peak()
        start = time.perf_counter()
        opened.read(WEIGHTS)
        first = time.perf_counter() - start
        peak = _memory("VmHWM") - before
    with zipfile.ZipFile(bundle) as archive:
        coded = archive.read(member.stored_name(WEIGHTS))
    return {
        "decoded_bytes": member.size,
        "coded_bytes": len(coded),
        "first_read_s": first,
        "decode_s": _median(lambda: decode_records(io.BytesIO(coded), member.size)),
        "decode_cpu_s": _median(lambda: decode_records(io.BytesIO(coded), member.size), time.process_time),
        "decode_and_check_s": _median(lambda: decode(io.BytesIO(coded), member)),
        "peak_bytes": peak,
    }


def opening(bundle: Path, photo: Path) -> dict[str, float]:
    """Seconds from opening a bundle to the answer for one photo, imports done."""
    from pocketlens.runtime.recognizer import Recognizer

    start = time.perf_counter()
    with Recognizer.open(bundle, threads=1) as recognizer:
        opened = time.perf_counter() - start
        recognizer.recognize(photo)
        return {"open_s": opened, "first_answer_s": time.perf_counter() - start}


def _median(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    seconds = []
    for _ in range(RUNS):
        start = clock()
        run()
        seconds.append(clock() - start)
    return statistics.median(seconds)


def _memory(name: str) -> int:
    """A line of /proc/self/status, bytes."""
    found = re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, f"this system does not tell {name}; run it on Linux"
    return int(found.group(1)) * 1024


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
