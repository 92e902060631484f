"""Grocery products on a phone: the recipe `fast` on an EfficientNet-Lite0 trained on GroceryStoreDataset.

    .venv/bin/python benchmarks/products.py --data GROCERY_DIR --weights grocery_lite0.safetensors

Resumable: stages are kept and an interrupted training goes on. Writes benchmarks/results/products.csv: the exported
files on all test photos, batch 1, interleaved. Nothing else should run while the latencies are taken.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the recipe and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--out", type=Path, help="keep bundle and report here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = arguments.out or Path(scratch) / "products.lens"
        command = [sys.executable, "-m", "pocketlens", "squeeze", "efficientnet_lite0", "--weights", arguments.weights]
        command += ["--data", arguments.data, "--recipe", arguments.recipe, "--out", str(out), "--force", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        result = json.loads(done.stdout)
    rows = [row(m, result) for m in (result["baseline"], *result["graphs"].values())]
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "products.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)
    for line in rows:
        print(line)
    for stage in result["stages"]:
        print(stage["record"]["name"], stage["record"]["summary"], (stage["verdict"] or {}).get("sentence"))
    print(result["verdict"]["sentence"])


def row(m: dict, result: dict) -> dict[str, object]:
    """One line of the CSV."""
    training = [p for p in result["recipe"]["pass"] if p["use"] == "Distil"]
    line: dict[str, object] = {
        "file": m["name"],
        "preferred": m["name"] == result["preferred"],
        "size_bytes": m["size_bytes"],
        "parameters": m["parameters"],
        "macs": m["macs"],
        "n": m["n"],
        "top1": m["top1"],
        "top1_change": m["top1_change"],
        "top1_change_low": m["top1_change_interval"][0],
        "top1_change_high": m["top1_change_interval"][1],
        "agreement": m["agreement"],
    }
    for threads, spread in m["latency_ms_by_threads"].items():
        own = m["speedup"][threads]
        line |= {
            f"latency_ms_{threads}t": spread["median"],
            f"speedup_{threads}t": own["estimate"],
            f"speedup_low_{threads}t": own["low"],
            f"speedup_high_{threads}t": own["high"],
        }
    c = m["conditions"]
    return line | {
        "recipe": result["recipe"]["name"],
        "epochs": sum(p["epochs"] for p in training),
        "batch": training[0]["batch_size"] if training else None,
        "seed": 0,
        "device": c["device"],
        "runtime": c["runtime"],
        "measured": c["measured"],
    }


if __name__ == "__main__":
    main()
