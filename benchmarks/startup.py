"""How long a user waits before anything happens: `--help`, and `recognize` of one photo from a cold start.

    .venv/bin/python benchmarks/startup.py BUNDLE PHOTO

Each is a fresh process, timed from outside; the median of 11. Writes benchmarks/results/startup.csv.
"""

import csv
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from pocketlens.targets.probe import hardware

RUNS = 11


def main() -> None:
    bundle, photo = sys.argv[1:3]
    command = [str(Path(sys.executable).with_name("pocketlens"))]
    cases = {"pocketlens --help": ["--help"], "pocketlens recognize, one photo": ["recognize", bundle, photo]}
    machine = hardware()
    rows = []
    for name, arguments in cases.items():
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            subprocess.run([*command, *arguments], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        low, middle, high = (statistics.quantiles(seconds, n=10)[i] for i in (0, 4, 8))
        print(f"{name}: {middle:.2f} s (p10 {low:.2f}, p90 {high:.2f})")
        device = f"{machine.cpu}, {machine.cores} cores"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows.append([name, f"{middle:.3f}", f"{low:.3f}", f"{high:.3f}", RUNS, device, now])
    with (Path(__file__).parent / "results" / "startup.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["command", "median_s", "p10_s", "p90_s", "n", "device", "measured"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
