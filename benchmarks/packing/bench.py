"""What every part needs: the network and its images, files as they ship, and tables that keep what is known."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import torch

from packing.shipped import Shipped, ship
from pocketlens.cli.console import Bars
from pocketlens.datasets import splits
from pocketlens.datasets.choose import left_over, spread_evenly
from pocketlens.measure import fidelity
from pocketlens.models import sources
from pocketlens.recipe import Chain, bind, run
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.types import Artifact, Context, Data, ImageSet, Json, Model, Pass, Profile, Target
from pocketlens.whole_file import whole_file

RESULTS = Path(__file__).parents[1] / "results"

CALIBRATION_IMAGES = 100

Row = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where things are, and how many of them are looked at.

    Args:
        data: the folder of the data sets.
        weights: the folder of trained weights.
        work: stages and files are kept here.
        few: images of each set (of `kmeans`: layers), to try a part out; its tables then go to `work`. None takes all.
    """

    data: Path
    weights: Path
    work: Path
    few: int | None = None

    @cached_property
    def target(self) -> Target:
        """Where files run."""
        return load_target("onnxruntime")

    @cached_property
    def profile(self) -> Profile:
        """What is known of it."""
        return self.target.profile()

    @cached_property
    def lite0(self) -> Model:
        """EfficientNet-Lite0 with its ImageNet weights."""
        return sources.load("efficientnet_lite0")

    @cached_property
    def photos(self) -> Data:
        """100 photos calibrate, the rest of them choose, others are the test."""
        spec = self.lite0.spec
        pool = splits.load(self.data / "imagenet-sample", spec.class_ids, spec.labels)
        test = splits.load(self.data / "imagenet-like", spec.class_ids, spec.labels)
        validation = left_over(pool, CALIBRATION_IMAGES)
        assert validation is not None
        calibration = spread_evenly(pool, CALIBRATION_IMAGES)
        return Data(calibration=self.some(calibration), validation=self.some(validation), test=self.some(test))

    def some(self, images: ImageSet) -> ImageSet:
        """All of a set, or as many as are to be looked at."""
        return images if self.few is None else spread_evenly(images, self.few)

    def made(self, *passes: Pass) -> tuple[Model, float]:
        """Lite0 after these passes, and the seconds that they took; what was done before is looked up."""
        context = Context(
            data=replace(self.photos, test=None), original=self.lite0, work=self.work, cache=self.work, progress=Bars()
        )
        chain = bind(Chain(*passes), self.profile)
        model, records = run(chain, self.lite0, context, store=StageStore(self.work / "stages"))
        return model, sum(record.seconds for record in records)

    def shipped(self, name: str, *passes: Pass) -> Shipped:
        """The bundle of Lite0 after these passes, which go by this name; written once a run."""
        if name not in self._shipped:
            model, seconds = self.made(*passes)
            assert self.photos.calibration is not None
            folder = self.work / "files"
            self._shipped[name] = ship(model, name, seconds, folder, self.photos.calibration, self.target)
        return self._shipped[name]

    @cached_property
    def _shipped(self) -> dict[str, Shipped]:
        return {}

    @cached_property
    def original(self) -> Artifact:
        """Lite0 in float, as a file."""
        place = self.work / "files" / "fp32"
        place.mkdir(parents=True, exist_ok=True)
        return self.target.lower(self.lite0, "fp32", place)

    def scores(self, files: Sequence[Artifact], images: ImageSet | None) -> tuple[Json, ...]:
        """Each file's fidelity to the first."""
        assert images is not None
        return fidelity(files, target=self.target, images=images, batch_size=25, progress=Bars())

    def keep(self, table: str, row: Row, *key: str) -> None:
        """Put a row into a table, in the place of the one that has the same values under `key`."""
        folder = RESULTS if self.few is None else self.work / "tried"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"pack_{table}.csv"
        rows: list[Row] = []
        if path.exists():
            with path.open(newline="") as file:
                rows = [dict(old) for old in csv.DictReader(file)]
        whole = row | {name: value for name, value in self.conditions().items() if name not in row}
        places = [i for i, old in enumerate(rows) if all(old.get(name) == str(row[name]) for name in key)]
        if places:
            rows[places[0]] = whole
        else:
            rows.append(whole)
        columns = dict.fromkeys(name for each in (whole, *rows) for name in each)
        with whole_file(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(columns))
            writer.writeheader()
            writer.writerows(rows)
        print("    " + ", ".join(f"{name} {_short(value)}" for name, value in row.items()), flush=True)

    def conditions(self) -> Row:
        """What makes a figure repeatable."""
        return {
            "device": f"{self.profile.cpu}, {self.profile.cores} cores",
            "runtime": self.profile.runtime,
            "torch_threads": torch.get_num_threads(),
            "seed": 0,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def interval(pair: Sequence[float]) -> str:
    """Both ends in one column."""
    return "{:.4f} to {:.4f}".format(*pair)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
