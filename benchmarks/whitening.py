"""How coarse a bundle's whitening may be: its bytes, and what its vectors find.

    .venv/bin/python benchmarks/whitening.py --data DATA_DIR --weights grocery_lite0.safetensors

DATA_DIR holds grocery/, landmarks/ and imagenet-sample/. Maps are made anew from the embeddings of int8 bundles of
EfficientNet-Lite0, as it comes and as trained on grocery (those of benchmarks/galleries.py, squeezed where they are
not there), rounded by several steps, and asked for the product on every grocery test photo and for the landmark on
every landmark photo. Resumable: embeddings are kept in --work. Writes benchmarks/results/whitening.csv.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from galleries import RESULTS, SHOTS, Bench, bench_of, bench_parser
from numpy.typing import NDArray

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.coding import encode
from pocketlens.bundle.unpack import unpack
from pocketlens.bundle.whitening import MAX_DIMENSIONS, Whitening
from pocketlens.datasets.folder import class_folders, folder
from pocketlens.models import sources
from pocketlens.models.embedding import classifier_rows
from pocketlens.ops.whitening import whiten
from pocketlens.targets import load_target

FINENESS = (16.0, 8.0, 4.0, 3.0, 2.0, 1.5)
"""Steps in the root mean square of a map."""

Features = NDArray[np.floating]
Map = Callable[[Features], Features]


def embedded(bench: Bench, name: str, photos: str) -> tuple[Features, NDArray[np.int64]]:
    """Embeddings of a folder, (n, features), and each photo's place among the classes to train on."""
    train = bench.data / photos.split("/")[0] / "train"
    images = folder(bench.data / photos, class_folders(train) if train.exists() else ())
    with open_bundle(bench.bundle(name)) as bundle:
        kept = bench.work / f"embedding-{bundle.manifest.fingerprint[:16]}-{images.fingerprint()}.npz"
        if not kept.exists():
            artifact = unpack(bundle, bench.work, "int8")
            batches = images.batches(artifact.spec.preprocessing, 8)
            outputs = load_target("onnxruntime").all_outputs(artifact, (batch.images for batch in batches))
            features = np.concatenate([output["embedding"] for output in outputs])
            part = kept.with_name("part.npz")
            np.savez(part, features=features, labels=np.array(images.labels))
            part.replace(kept)
    with np.load(kept) as stored:
        return stored["features"].astype(np.float32), stored["labels"]


def by_row(mean: Features, rows: Features) -> Whitening:
    """A map whose rows each use the whole of int8."""
    scale = np.abs(rows).max(axis=1) / 127
    codes = np.rint(rows / scale[:, np.newaxis]).astype(np.int8)
    return Whitening(mean=mean.astype(np.float32), scale=scale.astype(np.float32), codes=codes)


def unrounded(mean: Features, rows: Features) -> Map:
    """The map in floats."""

    def apply(features: Features) -> Features:
        vectors = (features - mean) @ rows.T
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return apply


def by_means(train: Features, labels: NDArray, test: Features) -> NDArray[np.int64]:
    """The class whose mean vector is nearest."""
    means = np.stack([train[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    return (test @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1)


def nearest_other(vectors: Features, labels: NDArray) -> float:
    """Share of photos whose nearest other photo is of the same class."""
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    return float((labels[alike.argmax(axis=1)] == labels).mean())


def measured(bench: Bench, name: str, calibration: str, source: Path | None) -> list[dict[str, object]]:
    """One row a map of one network."""
    train, test = embedded(bench, name, "grocery/train"), embedded(bench, name, "grocery/test")
    landmarks = embedded(bench, name, "landmarks/train")
    classifier = classifier_rows(sources.load("efficientnet_lite0", weights=source).graph)
    assert classifier is not None
    mean, rows = whiten(embedded(bench, name, calibration)[0], classifier.detach().numpy(), MAX_DIMENSIONS)
    exact = unrounded(mean, rows)
    maps: list[tuple[str, Map, Whitening | None]] = [("not rounded", exact, None)]
    for rounding, map_ in [("int8 a row", by_row(mean, rows))] + [
        (f"1/{fineness:g}", Whitening.of_rows(mean, rows, fineness)) for fineness in FINENESS
    ]:
        maps.append((rounding, map_.apply, map_))
    found = []
    for rounding, apply, map_ in maps:
        known, asked = apply(train[0]), apply(test[0])
        few = []
        for seed in bench.seeds:
            rng = np.random.default_rng(seed)
            rows_of = [rng.permutation(np.flatnonzero(train[1] == k))[:SHOTS] for k in range(train[1].max() + 1)]
            chosen = np.concatenate(rows_of)
            few.append((by_means(known[chosen], train[1][chosen], asked) == test[1]).mean())
        answers = by_means(known, train[1], asked)
        found.append(
            {
                "bundle": name,
                "step": rounding,
                "bytes": "" if map_ is None else encode("map.bin", map_.to_bytes(), map_.spans())[0].stored_size,
                "median_cosine": float(np.median((asked * exact(test[0])).sum(axis=1))),
                "same_answer": float((answers == by_means(exact(train[0]), train[1], exact(test[0]))).mean()),
                "recall_all": float((answers == test[1]).mean()),
                f"recall_{SHOTS}": float(np.mean(few)),
                "recall_landmarks": nearest_other(apply(landmarks[0]), landmarks[1]),
            }
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    """Both networks."""
    arguments = bench_parser(__doc__).parse_args()
    bench = bench_of(arguments, lite0=None, products=None)
    rows = measured(bench, "lite0", "imagenet-sample", None)
    rows += measured(bench, "products", "grocery/train", arguments.weights)
    profile = load_target("onnxruntime").profile()
    conditions = {"device": f"{profile.cpu}, {profile.cores} cores", "runtime": profile.runtime}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "whitening.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0], *conditions])
        writer.writeheader()
        writer.writerows(row | conditions for row in rows)


if __name__ == "__main__":
    main()
