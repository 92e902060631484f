"""The app in headless Chromium on this machine: speed beside a bare runtime, first visit, second start, endurance.

    .venv/bin/python benchmarks/app.py --data DATA_DIR --weights grocery_lite0.safetensors [--part NAME ...]

DATA_DIR holds imagenet-sample/, imagenet-like/ and grocery/. Parts: speed, visit, install, soak (30 minutes).
Resumable: bundles and site are kept in --work. Writes benchmarks/results/app_*.csv. Nothing else may run meanwhile.
`install` asks npx for Lighthouse; the camera is a file of real photos at 1280 x 720.
"""

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from browser.bare import bare_site, bare_times
from browser.camera import SIZE, write_y4m
from browser.chromium import CHROMIUM, chromium
from browser.phone import Way, first_label, history, open_app, watch

from pocketlens.targets.probe import hardware

RESULTS = Path(__file__).parent / "results"

FP32 = 'name = "fp32"\ndescription = "As it came."\n\n[[pass]]\nuse = "FoldBatchNorm"\n'

FILES = {
    "fp32 Lite0": ("fp32", "float"),
    "int8 Lite0": ("lite0", "int8"),
    "float-from-int8 Lite0": ("lite0", "float"),
    "fast grocery, int8": ("fast", "int8"),
    "fast grocery, float": ("fast", "float"),
}
"""What a row is called -> bundle and graph."""


@dataclass(frozen=True)
class Bench:
    """What every part needs.

    Args:
        data: the folder of the data sets.
        weights: of the grocery model.
        work: where bundles, site and camera are kept.
    """

    data: Path
    weights: Path
    work: Path

    def bundle(self, name: str) -> Path:
        """A bundle, squeezed once and kept."""
        out = self.work / f"{name}.lens"
        if out.exists():
            return out
        fp32 = self.work / "fp32.toml"
        fp32.write_text(FP32)
        photos = ["--calibration", str(self.data / "imagenet-sample"), "--calibration-images", "100"]
        photos += ["--test", str(self.data / "imagenet-like")]
        how = {
            "fp32": ["--recipe", str(fp32), *photos],
            "lite0": ["--recipe", "int8", *photos],
            "fast": ["--recipe", "fast", "--weights", str(self.weights), "--data", str(self.data / "grocery")],
        }
        pocketlens("squeeze", "efficientnet_lite0", *how[name], "--out", str(out))
        return out

    @cached_property
    def site(self) -> Path:
        """A site with all three, the int8 Lite0 first."""
        out = self.work / "site"
        pocketlens("app", *(str(self.bundle(name)) for name in ("lite0", "fp32", "fast")), "--out", str(out), "--force")
        return out

    @cached_property
    def camera(self) -> Path:
        """60 frames a second, so that the camera is not what limits."""
        out = self.work / "camera.y4m"
        if not out.exists():
            write_y4m(sorted((self.data / "imagenet-like").glob("*/*.jpg"))[::170], out)
        return out


def pocketlens(*arguments: str) -> None:
    """Run a verb."""
    subprocess.run([sys.executable, "-m", "pocketlens", *arguments], check=True, stdout=sys.stderr)


@contextmanager
def served(site: Path, port: int = 0) -> Iterator[tuple[str, subprocess.Popen]]:
    """A site over HTTP: its address and the process, which a part may end earlier."""
    command = [sys.executable, "-m", "pocketlens", "serve", str(site), "--port", str(port), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = ""
    assert process.stdout is not None
    while not text.endswith("}\n"):
        text += process.stdout.readline()
    try:
        yield json.loads(text)["urls"][0], process
    finally:
        process.kill()
        process.wait()


def speed(bench: Bench) -> None:
    """Looks a second of each file with 1 and 2 threads, beside a bare loop on the same file, and its stages."""
    rows = []
    ids = model_ids(bench.site)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "bare").mkdir()
        bundles = {name: bench.bundle(name) for name in ("fp32", "lite0", "fast")}
        with (
            served(bench.site) as (address, _),
            bare_site(bundles, folder / "bare") as bare,
            chromium(folder / "profile", bench.camera) as context,
        ):
            for threads in (1, 2):
                for name, (bundle, graph) in FILES.items():
                    page = open_app(context, address, Way(model=ids[bundle], graph=graph, threads=threads))
                    seen = watch(page, 32)
                    page.goto("about:blank")  # the camera off, the worker gone
                    alone = bare_times(context, bare, folder / "bare", f"{bundle}/{graph}", threads=threads)
                    rows.append(speed_row(name, threads, seen, alone))
                    print(rows[-1], file=sys.stderr)
    write("speed", rows)


def speed_row(name: str, threads: int, seen: list[dict], alone: list[float]) -> dict[str, object]:
    """One line of the table, from the monitor's rows and the bare loop's times."""
    way = seen[0]["way"]
    assert way["threads"] == threads, f"asked for {threads} threads, the app ran {way}"
    stages = {stage: [row["stages"][stage] for row in seen] for stage in seen[0]["stages"]}
    around = [row["stages"]["around"] for row in seen]
    bare_p50, bare_p95 = statistics.median(alone), statistics.quantiles(alone, n=20)[-1]
    middle = statistics.median
    line: dict[str, object] = {
        "file": name,
        "threads": threads,
        "fps": round(middle(row["fps"] for row in seen), 1),
        "bare_p50_ms": round(bare_p50, 2),
        "bare_p95_ms": round(bare_p95, 2),
        "bare_fps": round(1000 / bare_p50, 1),
        "around_p50_ms": round(middle(a["p50"] for a in around), 2),
        "around_p95_ms": round(middle(a["p95"] for a in around), 2),
    }
    for stage, spreads in stages.items():
        if stage != "around":
            line[f"{stage}_p50_ms"] = round(middle(s["p50"] for s in spreads), 2)
            line[f"{stage}_p95_ms"] = round(middle(s["p95"] for s in spreads), 2)
    label, model = middle(s["p95"] for s in stages["label"]), middle(s["p50"] for s in stages["inference"])
    return line | {"label_p95_over_model_p50": round(label / model, 3), "rows_of_10_s": len(seen)}


def model_ids(site: Path) -> dict[str, str]:
    """Bundle -> its id in the catalog."""
    models = json.loads((site / "catalog.json").read_text())["models"]
    return dict(zip(("lite0", "fp32", "fast"), (model["id"] for model in models), strict=True))


def visit(bench: Bench) -> None:
    """What a first visit downloads with the int8 Lite0 alone, and how soon a second start has a label, network off."""
    site = bench.work / "first"
    pocketlens("app", str(bench.bundle("lite0")), "--out", str(site), "--force")
    with tempfile.TemporaryDirectory() as scratch:
        profile = Path(scratch) / "profile"
        with served(site) as (address, server):
            with chromium(profile, bench.camera) as context:
                asked: set[str] = set()
                context.on("request", lambda request: asked.add(request.url.split("?")[0]))
                start = time.perf_counter()
                open_app(context, address)
                installed = time.perf_counter() - start
            server.kill()
            server.wait()
            seconds = []
            for _ in range(5):
                with chromium(profile, bench.camera) as context:
                    context.set_offline(True)
                    page = context.pages[0]
                    start = time.perf_counter()
                    page.goto(address)
                    first_label(page)
                    seconds.append(time.perf_counter() - start)
        paths = {site / url.removeprefix(address) for url in asked if url.startswith(address)}
        files = sorted(path for path in paths | {site / "index.html"} if path.is_file())
        download = sum(min(len(gzip.compress(path.read_bytes(), 9)), path.stat().st_size) for path in files)
    row = {
        "files": len(files),
        "first_visit_bytes_gzipped": download,
        "first_visit_to_label_s": round(installed, 2),
        "second_start_to_label_s": round(statistics.median(seconds), 2),
        "second_start_slowest_s": round(max(seconds), 2),
        "starts": len(seconds),
    }
    write("visit", [row])


def install(bench: Bench) -> None:
    """Whether Chromium would install the app, and Lighthouse's score of accessibility."""
    with tempfile.TemporaryDirectory() as scratch, served(bench.site) as (address, _):
        with chromium(Path(scratch) / "profile", bench.camera) as context:
            page = open_app(context, address)
            session = context.new_cdp_session(page)
            errors = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
            manifest = json.loads(session.send("Page.getAppManifest")["data"])
        out = Path(scratch) / "lighthouse.json"
        flags = "--headless=new --no-sandbox --use-fake-ui-for-media-stream --use-fake-device-for-media-stream"
        command = ["npx", "--yes", "lighthouse@12.2.3", address, "--quiet", "--output=json", f"--output-path={out}"]
        command += ["--only-categories=accessibility,best-practices", f"--chrome-flags={flags}"]
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": CHROMIUM}, stdout=sys.stderr)
        scores = {name: found["score"] for name, found in json.loads(out.read_text())["categories"].items()}
    row = {
        "installability_errors": len(errors),
        "icons": len(manifest["icons"]),
        "display": manifest["display"],
        "lighthouse_accessibility": round(100 * scores["accessibility"]),
        "lighthouse_best_practices": round(100 * scores["best-practices"]),
    }
    write("install", [row])


def soak(bench: Bench, minutes: int) -> None:
    """Heap and looks a second, minute by minute; then of a fresh start, whose figures tell what the machine did."""
    rows = [{"session": "soak", **row} for row in watched(bench, minutes)]
    rows += [{"session": "fresh", **row} for row in watched(bench, 4)]
    write("soak", rows)
    parts = {"minutes 2 to 4": rows[1:4], "the last three": rows[minutes - 3 : minutes], "a fresh start": rows[-3:]}
    for name in ("heap_bytes", "fps", "inference_p50_ms"):
        means = {part: statistics.mean(row[name] for row in chosen) for part, chosen in parts.items()}
        print(name, {part: round(mean, 1) for part, mean in means.items()})


def watched(bench: Bench, minutes: int) -> list[dict[str, float]]:
    """The app from its start, a row a minute; garbage is collected before the heap is read."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        served(bench.site) as (address, _),
        chromium(Path(scratch) / "profile", bench.camera) as context,
    ):
        page = open_app(context, address, Way(model=model_ids(bench.site)["lite0"], graph="float", threads=1))
        session = context.new_cdp_session(page)
        began = time.time()
        heaps = []
        for minute in range(1, minutes + 1):
            page.wait_for_timeout(max(0.0, began + 60 * minute - time.time()) * 1000)
            session.send("HeapProfiler.collectGarbage")
            heaps.append(session.send("Runtime.getHeapUsage")["usedSize"])
            print(f"minute {minute}: {heaps[-1]} bytes of heap", file=sys.stderr)
        samples = history(page)
    rows = []
    for minute, heap in enumerate(heaps, 1):
        seen = [s for s in samples if minute - 1 <= (s["at"] / 1000 - began) / 60 < minute]
        rows.append(
            {
                "minute": minute,
                "heap_bytes": heap,
                "fps": round(statistics.median(s["fps"] for s in seen), 2),
                "inference_p50_ms": round(statistics.median(s["stages"]["inference"]["p50"] for s in seen), 2),
                "label_p95_ms": round(statistics.median(s["stages"]["label"]["p95"] for s in seen), 2),
            }
        )
    return rows


def write(part: str, rows: list[dict[str, object]]) -> None:
    """Write a part's CSV, with its conditions."""
    machine = hardware()
    version = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    conditions = {
        "camera": f"{SIZE[0]}x{SIZE[1]}",
        "chromium": version,
        "device": f"{machine.cpu}, {machine.cores} cores",
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"app_{part}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0], *conditions])
        writer.writeheader()
        writer.writerows(row | conditions for row in rows)
    for row in rows:
        print(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/pocketlens-app"))
    parser.add_argument("--part", action="append", choices=["speed", "visit", "install", "soak"])
    parser.add_argument("--minutes", type=int, default=30, help="of the soak")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.data, arguments.weights, arguments.work)
    parts: dict[str, Callable[[Bench], None]] = {
        "visit": visit,
        "speed": speed,
        "install": install,
        "soak": lambda bench: soak(bench, arguments.minutes),
    }
    for name, part in parts.items():
        if not arguments.part or name in arguments.part:
            part(bench)


if __name__ == "__main__":
    main()
