"""Galleries: products one-shot, 5-shot and in full, landmarks among unseen landmarks, and how long a search takes.

    .venv/bin/python benchmarks/galleries.py --data DATA_DIR --weights grocery_lite0.safetensors [--part NAME]

DATA_DIR holds grocery/, landmarks/ and imagenet-sample/. Resumable: bundles and embeddings are kept in --work. Writes
benchmarks/results/galleries_*.csv. Thresholds are set by the enrolled photos alone; test photos are only queries.
Nothing else should run while `search` is taken.
"""

import argparse
import csv
import itertools
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pocketlens.cli.console import Bars
from pocketlens.datasets.folder import folder
from pocketlens.runtime.gallery.build import backbone_of, build_gallery
from pocketlens.runtime.gallery.evaluate import evaluate_gallery
from pocketlens.runtime.gallery.examples import Examples, read_examples
from pocketlens.runtime.gallery.gallery import Backbone, Entry, Gallery, codes
from pocketlens.runtime.gallery.search import Index
from pocketlens.runtime.recognizer import Recognizer
from pocketlens.targets import load_target
from pocketlens.targets.cache import cache_folder
from pocketlens.tasks import wilson_interval

RESULTS = Path(__file__).parent / "results"

SHOTS = 5

FIGURES = (
    "recall_at_1", "recall_at_5", "map", "accepted_recall_at_1", "false_accept_rate", "auroc", "recall_at_rate",
)  # fmt: skip
"""Of `evaluate_gallery`, those that the tables show."""


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    data: Path
    weights: Path
    work: Path
    seeds: tuple[int, ...]
    given: Mapping[str, Path | None]

    def bundle(self, name: str) -> Path:
        """The int8 bundle of a model: the one given, else squeezed once and kept."""
        given = self.given[name]
        if given is not None:
            return given
        out = self.work / f"{name}.lens"
        if not out.exists():
            images = ["--calibration", str(self.data / "imagenet-sample")]
            own = {"lite0": images, "products": ["--weights", str(self.weights), "--data", str(self.data / "grocery")]}
            command = [sys.executable, "-m", "pocketlens", "squeeze", "efficientnet_lite0", *own[name]]
            subprocess.run([*command, "--recipe", "int8", "--out", str(out)], check=True)
        return out

    def embed(self, name: str, photos: Path) -> tuple[Examples, Backbone]:
        """The photos of a folder as a bundle sees them; kept by what both are."""
        with Recognizer.open(self.bundle(name)) as recognizer:
            backbone = backbone_of(recognizer)
            key = f"{backbone.fingerprint[:16]}-{recognizer.graph_name}-{folder(photos).fingerprint()}"
            kept = self.work / f"{key}.npz"
            if not kept.exists():
                found = read_examples(recognizer, photos, progress=Bars())
                part = kept.with_name("part.npz")
                np.savez(part, classes=np.array(found.classes), vectors=found.vectors, labels=found.labels)
                part.replace(kept)
        with np.load(kept) as stored:
            examples = Examples(
                classes=tuple(map(str, stored["classes"])), vectors=stored["vectors"], labels=stored["labels"]
            )
        return examples, backbone


def grocery(bench: Bench) -> list[dict[str, object]]:
    """All 81 products, by how many photos each is enrolled with; queries are the test photos."""
    rows = []
    photos = bench.data / "grocery"
    for name in ("lite0", "products"):
        train, backbone = bench.embed(name, photos / "train")
        iconic, _ = bench.embed(name, photos / "iconic")
        test, _ = bench.embed(name, photos / "test")
        draws = {
            "iconic, 1 studio picture": [iconic],
            f"{SHOTS} train photos": [drawn(train, SHOTS, seed) for seed in bench.seeds],
            "all train photos": [train],
        }
        for enrolled, galleries in draws.items():
            found = [
                evaluate_gallery(build_gallery(examples, backbone, name="grocery")[0], test) for examples in galleries
            ]
            figures = mean(found, ("recall_at_1", "recall_at_5", "map"))
            low, high = wilson_interval(round(figures["recall_at_1"] * found[0]["known"]), found[0]["known"])
            rows.append(
                {"bundle": name, "fingerprint": backbone.fingerprint[:12], "enrolled": enrolled}
                | {"draws": len(found), "known": found[0]["known"]}
                | figures
                | {"recall_at_1_low": low, "recall_at_1_high": high}
            )
            print(rows[-1], flush=True)
    return rows


def landmarks(bench: Bench) -> list[dict[str, object]]:
    """Every way to enrol 3 of the 6 with 5 photos each; the test photos of the other 3 are the unseen."""
    rows = []
    train, backbone = bench.embed("lite0", bench.data / "landmarks" / "train")
    test, _ = bench.embed("lite0", bench.data / "landmarks" / "test")
    fingerprint = {"fingerprint": backbone.fingerprint[:12]}
    for known in itertools.combinations(train.classes, 3):
        found = []
        for seed in bench.seeds:
            enrolled = only(drawn(train, SHOTS, seed), known)
            gallery, _ = build_gallery(enrolled, backbone, name="landmarks", kind="landmarks")
            found.append(evaluate_gallery(gallery, test))
        counts = {"known": found[0]["known"], "unseen": found[0]["unseen"]}
        rows.append({"enrolled": " ".join(known), "draws": len(found)} | counts | mean(found, FIGURES) | fingerprint)
        print(rows[-1], flush=True)
    total = {key: sum(row[key] for row in rows) for key in ("draws", "known", "unseen")}
    averages = {key: float(np.mean([row[key] for row in rows])) for key in FIGURES}
    rows.append({"enrolled": "all splits"} | total | averages | fingerprint)
    print(rows[-1], flush=True)
    return rows


def search(bench: Bench) -> list[dict[str, object]]:
    """One query among 50,000 vectors of 256 numbers, one thread."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50_000, 256), np.float32)
    gallery = Gallery(
        name="search",
        kind="products",
        backbone=Backbone(name="random", fingerprint="0" * 64, dimensions=256),
        entries=tuple(Entry(id=str(i), label=str(i)) for i in range(len(vectors))),
        vectors=codes(vectors),
        threshold=0.5,
        margin=0.0,
    )
    index = Index(gallery)
    times = []
    for query in vectors[:200, np.newaxis]:
        start = time.perf_counter()
        index.search(query)
        times.append((time.perf_counter() - start) * 1e3)
    p10, median, p90 = map(float, np.percentile(times, (10, 50, 90)))
    row = {"vectors": 50_000, "dimensions": 256, "searches": len(times)}
    print(row | {"p10_ms": p10, "median_ms": median, "p90_ms": p90}, flush=True)
    return [row | {"p10_ms": p10, "median_ms": median, "p90_ms": p90}]


PARTS = {"grocery": grocery, "landmarks": landmarks, "search": search}


def drawn(examples: Examples, count: int, seed: int) -> Examples:
    """At most `count` photos of each class."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(examples.labels == label))[:count] for label in range(len(examples.classes))]
    chosen = np.concatenate(rows)
    return Examples(classes=examples.classes, vectors=examples.vectors[chosen], labels=examples.labels[chosen])


def only(examples: Examples, classes: Sequence[str]) -> Examples:
    """The photos of some classes."""
    labels = examples.labels_among(classes)
    return Examples(classes=tuple(classes), vectors=examples.vectors[labels >= 0], labels=labels[labels >= 0])


def mean(found: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """The mean of figures over the draws."""
    return {name: float(np.mean([figures[name] for figures in found])) for name in names}


def bench_parser(text: str | None) -> argparse.ArgumentParser:
    """The arguments of every benchmark of galleries."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=cache_folder() / "galleries")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the enrolled photos")
    return parser


def bench_of(arguments: argparse.Namespace, **given: Path | None) -> Bench:
    """What they ask for; its work folder is there.

    Args:
        arguments: of `bench_parser`.
        given: bundles made before.
    """
    arguments.work.mkdir(parents=True, exist_ok=True)
    return Bench(
        data=arguments.data,
        weights=arguments.weights,
        work=arguments.work,
        seeds=tuple(range(arguments.seeds)),
        given=given,
    )


def main() -> None:
    """Run the parts asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--lite0", type=Path, help="a bundle of EfficientNet-Lite0 made before")
    parser.add_argument("--products", type=Path, help="a bundle of the grocery weights made before")
    arguments = parser.parse_args()
    bench = bench_of(arguments, lite0=arguments.lite0, products=arguments.products)
    profile = load_target("onnxruntime").profile()
    conditions = {
        "device": f"{profile.cpu}, {profile.cores} cores",
        "runtime": profile.runtime,
        "numpy": np.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    for part in arguments.part or PARTS:
        print(part, flush=True)
        rows = [row | conditions for row in PARTS[part](bench)]
        with (RESULTS / f"galleries_{part}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
