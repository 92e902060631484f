"""From artifacts and measurements to the files that a squeeze leaves."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pocketlens.bundle.archive import write_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.manifest import GraphEntry
from pocketlens.bundle.tensor_coding import Span
from pocketlens.bundle.whitening import Whitening
from pocketlens.scheme_json import scheme_to_json
from pocketlens.targets.onnxruntime.blob import external_tensors
from pocketlens.types import Artifact, Data, Json, Measurement, Profile

WEIGHTS = "weights.bin"
"""The one blob that a bundle's graphs share."""


def write(
    out: Path,
    graphs: Sequence[Artifact],
    *,
    measurements: Sequence[Json],
    preferred: str,
    recipe: Json,
    baseline: Json,
    profile: Json,
    confidence: Confidence | None = None,
    whitening: Whitening | None = None,
    force: bool,
) -> int:
    """Write a bundle of `graphs`, which share one blob of weights; return its bytes."""
    members: dict[str, Path | bytes] = {}
    tensors: set[Span] = set()
    entries = []
    for graph, measurement in zip(graphs, measurements, strict=True):
        name = f"graphs/{graph.name}.onnx"
        members[name] = graph.graph
        if graph.weights is not None:
            members[WEIGHTS] = graph.weights
            tensors |= external_tensors(graph.graph)
        entries.append(
            GraphEntry(
                name=graph.name,
                graph=name,
                weights=WEIGHTS if graph.weights is not None else None,
                session=dict(graph.session),
                parameters=graph.parameters,
                macs=graph.macs,
                measurement=measurement,
            )
        )
    return write_bundle(
        out,
        spec=graphs[0].spec,
        graphs=tuple(entries),
        preferred=preferred,
        recipe=recipe,
        baseline=baseline,
        target=profile,
        members=members,
        tensors={WEIGHTS: sorted(tensors)},
        confidence=confidence,
        whitening=whitening,
        force=force,
    )


def bundle_bytes(artifact: Artifact, folder: Path) -> int:
    """What a bundle of this artifact alone would weigh."""
    out = folder / "size.lens"
    return write(
        out, [artifact], measurements=[{}], preferred=artifact.name, recipe={}, baseline={}, profile={}, force=True
    )


def profile_json(profile: Profile) -> Json:
    """A device's profile as plain data."""
    data = asdict(profile)
    return data | {"scheme": scheme_to_json(profile.scheme) if profile.scheme else None}


def splits_json(data: Data) -> Json:
    """Per split: its name, how many images, and those that could not be read."""
    splits = {name: getattr(data, name) for name in ("train", "calibration", "validation", "test")}
    return {
        name: {"name": images.name, "n": len(images), "labelled": images.labelled, "skipped": dict(images.skipped)}
        for name, images in splits.items()
        if images is not None
    }


def without_size(measurement: Measurement) -> Json:
    """A measurement for the manifest, which cannot hold the size of the file that it is part of."""
    from pocketlens.squeeze.plan import flat

    data = flat(measurement)
    del data["size_bytes"]
    return data


def skipped_notes(data: Data, shown: int = 3) -> list[str]:
    """Sentences that count and name the images that could not be read, one a split that has any."""
    notes = []
    for split, found in splits_json(data).items():
        if skipped := found["skipped"]:
            names = "; ".join(f"{key}: {reason}" for key, reason in list(skipped.items())[:shown])
            more = f" and {len(skipped) - shown} more" if len(skipped) > shown else ""
            images = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
            notes.append(f"{split}: {images} could not be read ({names}{more})")
    return notes
