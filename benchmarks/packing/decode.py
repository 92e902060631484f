"""How fast coded weights are decoded, in how much memory, and how soon a coded bundle has its first answer."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packing.bench import Bench, Row
from packing.kinds import KINDS, PLAIN, SHARE, rounded
from packing.shipped import Shipped

FRESH = Path(__file__).with_name("fresh.py")

PROCESSES = 7
"""Fresh processes or pages a figure; the median counts."""


def decode(bench: Bench) -> None:
    """Python: MB/s on one core and peak memory of decoding, seconds from opening a bundle to its first answer."""
    for kind, passes in KINDS.items():
        shipped = bench.shipped(kind, *passes)
        bench.keep("decode", {"where": "Python", "kind": kind} | _decoding(_fresh("decode", shipped)), "where", "kind")
    photo = _photo(bench)
    for kind, shipped in opened_kinds(bench).items():
        found = _fresh("open", shipped, str(photo))
        row: Row = {"where": "Python", "kind": kind, "graph": "preferred", "threads": 1, "n": len(found)}
        bench.keep("open", row | _spread(found, "open_s", "first_answer_s"), "where", "kind", "graph", "threads")


def chromium(bench: Bench) -> None:
    """The same in Chromium, by the app's own decoder and engine, each figure from fresh pages."""
    from browser.chromium import chromium as browser
    from browser.decoding import decoding_site

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bundles = {kind: bench.shipped(kind, *passes).bundle for kind, passes in KINDS.items()}
        with decoding_site(list(bundles.values()), folder / "site") as site, browser(folder / "profile") as context:
            for place, kind in enumerate(bundles):
                found = [site.decode(context, place) for _ in range(PROCESSES)]
                row: Row = {"where": "Chromium", "kind": kind} | _decoding(found)
                bench.keep("decode", row | site.conditions, "where", "kind")
            for kind in opened_kinds(bench):
                place = list(bundles).index(kind)
                for graph in ("int8", "float"):
                    for threads in (1, 2):
                        seen = [site.first_answer(context, place, graph, threads) for _ in range(PROCESSES)]
                        row = {"where": "Chromium", "kind": kind, "graph": graph, "threads": threads, "n": len(seen)}
                        row |= _spread(seen, "open_s", "first_answer_s") | site.conditions
                        bench.keep("open", row, "where", "kind", "graph", "threads")


def opened_kinds(bench: Bench) -> dict[str, Shipped]:
    """The bundles that recognise something, and so are opened to their first answer."""
    return {
        "plain int8": bench.shipped("plain int8", *PLAIN),
        "rate-rounded": bench.shipped("rate-rounded", *rounded(SHARE)),
    }


def _decoding(found: Sequence[dict[str, Any]]) -> Row:
    """Medians over processes or pages; megabytes are 10^6 bytes of decoded weights."""
    size = found[0]["decoded_bytes"]

    def speed(name: str) -> float:
        return size / 1e6 / statistics.median(each[name] for each in found)

    row: Row = {
        "decoded_bytes": size,
        "coded_bytes": found[0]["coded_bytes"],
        "n": len(found),
        "mb_per_s": speed("decode_s"),
        "mb_per_s_with_checks": speed("decode_and_check_s"),
        "mb_per_s_first_read": speed("first_read_s"),
    }
    if "peak_bytes" in found[0]:
        row["mb_per_s_of_processor_time"] = speed("decode_cpu_s")  # what others that run take from it left out
        row["peak_over_decoded"] = statistics.median(each["peak_bytes"] for each in found) / size
    return row


def _spread(found: Sequence[dict[str, Any]], *names: str) -> Row:
    row: Row = {name: statistics.median(each[name] for each in found) for name in names}
    return row | {"slowest_s": max(each[names[-1]] for each in found)}


def _fresh(what: str, shipped: Shipped, *more: str) -> list[dict[str, Any]]:
    """One answer a process."""
    command = [sys.executable, str(FRESH), what, str(shipped.bundle), *more]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(PROCESSES))
    return [json.loads(run.stdout) for run in runs]


def _photo(bench: Bench) -> Path:
    return sorted((bench.data / "imagenet-like").glob("*/*"))[0]
