"""Files for devices that are elsewhere: how true each preset's file is, computed here as its grids say.

    .venv/bin/python benchmarks/presets.py --calibration DIR --test DIR [--preset NAME ...]

EfficientNet-Lite0 through the command line. Resumable: presets that have a row are left out unless --fresh. Nothing is
timed. Writes benchmarks/results/presets.csv.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pocketlens.targets.presets.table import PRESETS

RESULTS = Path(__file__).parent / "results" / "presets.csv"


def squeezed(arguments: argparse.Namespace, preset: str, folder: Path) -> dict[str, object]:
    """One preset's row, from what the command line prints."""
    recipe = "half" if PRESETS[preset].scheme is None else "int8"
    command = [sys.executable, "-m", "pocketlens", "squeeze", "efficientnet_lite0", "--recipe", recipe, "--json"]
    command += ["--calibration", arguments.calibration, "--calibration-images", str(arguments.images)]
    command += ["--test", arguments.test, "--scheme", preset, "--out", str(folder / f"{preset}.lens")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    graph = found["graphs"]["half" if recipe == "half" else "int8"]
    return {
        "preset": preset,
        "graph": graph["name"],
        "n": graph["n"],
        "agreement": graph["agreement"],
        "agreement_low": graph["agreement_interval"][0],
        "agreement_high": graph["agreement_interval"][1],
        "sqnr_db": graph["sqnr_db"],
        "top1_change": graph["top1_change"],
        "top1_change_low": graph["top1_change_interval"][0],
        "top1_change_high": graph["top1_change_interval"][1],
        "download_bytes": graph["size_bytes"],
        "calibration_images": arguments.images,
        "runtime": found["target"]["runtime"],
        "seed": 0,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--preset", action="append", choices=list(PRESETS))
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    arguments = parser.parse_args()
    rows: dict[str, dict] = {}
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            rows = {row["preset"]: row for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory(prefix="presets-") as scratch:
        for preset in arguments.preset or PRESETS:
            if preset in rows and not arguments.fresh:
                continue
            rows[preset] = row = squeezed(arguments, preset, Path(scratch))
            print(f"{preset}: same answer {row['agreement']:.1%}, {row['sqnr_db']:.1f} dB", flush=True)
            with RESULTS.open("w", newline="") as file:
                writer = csv.DictWriter(file, fieldnames=list(row))
                writer.writeheader()
                writer.writerows(rows[name] for name in PRESETS if name in rows)


if __name__ == "__main__":
    main()
