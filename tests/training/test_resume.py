"""What a run that was killed loses: nothing but the step under way."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import PLAN, course

from pocketlens.models import store
from pocketlens.training.loop import train
from pocketlens.types import ImageSet, Model, Progress, Silent

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, os, signal, sys, time
from pathlib import Path
import torch
import pocketlens.training.loop as loop
from pocketlens.datasets.folder import folder
from pocketlens.models import store
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.objectives import Imitation
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Data, Silent

class Deadly(Silent):
    # Kills its own process before a step, as the system does when memory runs out.
    def track(self, items, description, total=None):
        for place, item in enumerate(items):
            if place == KILLED_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

loop.CHECKPOINT_SECONDS = 0.0
KILLED_AT = int(sys.argv[1])
graph, photos, fields = Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
model = store.load(graph)
images = folder(photos, model.spec.class_ids, model.spec.labels)

def run(work):
    course = Course(
        objective=Imitation(temperature=2.0, labels_weight=0.5), data=Data(train=images, validation=images),
        teachers=(model,), work=work, cache=work / "cache", seed=3, masks=zeros_of(model.graph), progress=Deadly(),
    )
    trained = loop.train(model, TrainingPlan(**fields), course)
    return {"digest": store.digest(trained.model), "notes": trained.notes, "log": trained.log}

print(json.dumps([run(Path(work)) for work in sys.argv[5:]]))
"""
"""KILLED_AT graph photos fields work...: trains once in each folder."""


def child(*arguments: object) -> "subprocess.Popen[str]":
    # One thread: what is compared must not depend on it, and waiting threads would starve each other here.
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd", "ema": 0.9, "clip": 1.0, "augment": "crop", "views": 2},
        {"optimizer": "adamw", "learning_rate": 0.001, "ema": 0.5, "mixup": 0.4, "augment": "randaugment"},
    ],
    ids=["sgd", "adamw"],
)
def test_a_killed_run_ends_as_one_that_was_not(
    tiny: Model, photos: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    with torch.no_grad():
        tiny.graph.get_submodule("expand_0").weight[::2] = 0
    store.save(tiny, tmp_path / "m.graph")
    plan = json.dumps({"epochs": 3, "batch_size": 4, "precision": "float32", **fields})
    given = (tmp_path / "m.graph", photos, plan)
    # In the middle of the second epoch, and, in another folder, before the first step of the third.
    dying = [child(at, *given, tmp_path / str(at)) for at in (9, 12)]
    for process in dying:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors
    assert (tmp_path / "9" / "checkpoints" / "last.safetensors").exists()
    output, errors = child(-1, *given, tmp_path / "9", tmp_path / "12", tmp_path / "whole").communicate(timeout=120)
    assert output, errors
    nine, twelve, whole = json.loads(output)
    assert nine["notes"] == ["went on from epoch 2, step 3"]
    assert twelve["notes"] == ["went on from epoch 3, step 0"]
    assert whole["notes"] == []
    assert nine["digest"] == twelve["digest"] == whole["digest"] != store.digest(tiny)
    for again in (nine, twelve):
        for mine, wanted in zip(again["log"], whole["log"], strict=True):
            for name in ("epoch", "loss", "accuracy", "validation", "learning_rate"):
                assert mine[name] == wanted[name]
    assert not (tmp_path / "9" / "checkpoints").exists()
    assert len((tmp_path / "9" / "log.jsonl").read_text().splitlines()) == 3


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Progress:
    """Ends a run within its second epoch, as Ctrl-C does; a checkpoint comes after each step."""
    import pocketlens.training.loop as module

    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    return Dying()


class Dying(Silent):
    def track(self, items: Iterable[Any], description: str, total: int | None = None) -> Iterator[Any]:
        yield from itertools.islice(items, 4)
        raise KeyboardInterrupt


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40:] = bytes(255 - b for b in content[-40:])
    path.write_bytes(content)


@pytest.mark.parametrize("spoilt", [1, 2])
def test_damaged_checkpoints_are_not_believed(
    tiny: Model, images: ImageSet, tmp_path: Path, dying: Progress, spoilt: int
) -> None:
    whole = train(tiny, PLAN, course(tiny, images, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train(tiny, PLAN, course(tiny, images, tmp_path / "cut", progress=dying))
    for name in ("last", "before")[:spoilt]:
        spoil(tmp_path / "cut" / "checkpoints" / f"{name}.safetensors")
    again = train(tiny, PLAN, course(tiny, images, tmp_path / "cut"))
    assert store.digest(again.model) == store.digest(whole.model)
    if spoilt == 1:
        corrupt, went_on = again.notes
        assert "last.safetensors is corrupt" in corrupt
        assert "the one before it is used" in corrupt
        assert went_on == "went on from epoch 2, step 0"
    else:
        assert len(again.notes) == 2
        assert all("is corrupt" in note and "training starts anew" in note for note in again.notes)
    lines = (tmp_path / "cut" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_another_plan_does_not_go_on_from_it(tiny: Model, images: ImageSet, tmp_path: Path, dying: Progress) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, PLAN, course(tiny, images, tmp_path / "cut", progress=dying))
    plan = replace(PLAN, learning_rate=0.02)
    again = train(tiny, plan, course(tiny, images, tmp_path / "cut"))
    assert again.notes == ()
    assert store.digest(again.model) == store.digest(train(tiny, plan, course(tiny, images, tmp_path / "new")).model)
