"""The loop: what a killed run loses, what is chosen, what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pocketlens.errors import DataError, ModelError
from pocketlens.models import store
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.loop import train
from pocketlens.training.objectives import Imitation, Labels
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Data, ImageSet, Model

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, sys
from pathlib import Path
import pocketlens.training.loop as loop
from pocketlens.datasets.folder import folder
from pocketlens.models import store
from pocketlens.training.course import Course
from pocketlens.training.objectives import Imitation
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Data

loop.CHECKPOINT_SECONDS = 0.0
graph, photos, work, fields = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4])
model = store.load(graph)
images = folder(photos, model.spec.class_ids, model.spec.labels)
course = Course(
    objective=Imitation(temperature=2.0, labels_weight=0.5), data=Data(train=images, validation=images),
    teachers=(model,), work=work, cache=work / "cache", seed=3,
)
trained = loop.train(model, TrainingPlan(**fields), course)
print(json.dumps({"digest": store.digest(trained.model), "notes": trained.notes, "epochs": len(trained.log)}))
"""


def course(model: Model, images: ImageSet, work: Path, **changes: Any) -> Course:
    given: dict[str, Any] = {
        "objective": Labels(), "data": Data(train=images, validation=images), "work": work, "cache": work,
    }  # fmt: skip
    return Course(**(given | changes))


PLAN = TrainingPlan(epochs=2, batch_size=8, learning_rate=0.05, augment="none", precision="float32")


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd", "ema": 0.9, "clip": 1.0, "augment": "crop", "views": 2},
        {"optimizer": "adamw", "learning_rate": 0.001, "mixup": 0.4, "augment": "randaugment"},
    ],
    ids=["sgd", "adamw"],
)
def test_a_killed_run_ends_as_one_that_was_not(
    tiny: Model, photos: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    store.save(tiny, tmp_path / "m.graph")
    plan = {"epochs": 12, "batch_size": 4, "precision": "float32", **fields}

    def start(work: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", CHILD, str(tmp_path / "m.graph"), str(photos), str(tmp_path / work)]
        return subprocess.Popen(
            [*command, json.dumps(plan)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )

    whole = start("whole")
    killed = start("killed")
    wanted = tmp_path / "killed" / "checkpoints" / "before.safetensors"
    deadline = time.monotonic() + 120
    while not wanted.exists():
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()  # pyright: ignore
    killed.stderr.close()  # pyright: ignore
    output, errors = start("killed").communicate(timeout=200)
    assert output, errors
    again = json.loads(output)
    assert any(note.startswith("went on from epoch") for note in again["notes"]), again
    reference = json.loads(whole.communicate(timeout=200)[0])
    assert again["digest"] == reference["digest"]
    assert again["epochs"] == reference["epochs"] == 12
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_it_learns(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    trained = train(tiny, replace(PLAN, epochs=12), course(tiny, images, tmp_path))
    assert trained.log[-1]["loss"] < 0.7 * trained.log[0]["loss"]
    assert trained.best is not None
    assert trained.best.value == max(line["validation"] for line in trained.log)
    assert trained.precision == "float32"


def test_the_input_model_stays_and_the_seed_decides(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    before = store.digest(tiny)
    one, same, other = (
        store.digest(train(tiny, PLAN, course(tiny, images, tmp_path / str(i), seed=seed)).model)
        for i, seed in enumerate((0, 0, 1))
    )
    assert store.digest(tiny) == before
    assert one == same != other


def test_one_line_an_epoch_is_logged(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    trained = train(tiny, PLAN, course(tiny, images, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [dict(line) for line in trained.log]
    assert {"epoch", "loss", "accuracy", "validation", "images_per_second", "learning_rate"} <= set(lines[0])


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(
    tiny: Model, images: ImageSet, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    trained = train(tiny, PLAN, course(tiny, images, tmp_path))
    assert len(trained.log) == 2
    assert any("cannot write a checkpoint" in note for note in trained.notes)


def test_a_loss_that_is_no_number_names_the_learning_rate(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lower `learning_rate`"):
        train(tiny, replace(PLAN, learning_rate=1e12, warmup=0.0, epochs=20), course(tiny, images, tmp_path))


def test_an_unreadable_image_is_left_out_and_named(tiny: Model, photos: Path, tmp_path: Path) -> None:
    import shutil

    from pocketlens.datasets.folder import folder

    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "dog" / "2.png").write_bytes(b"broken")
    images = folder(tmp_path / "photos", tiny.spec.class_ids, tiny.spec.labels)
    trained = train(tiny, PLAN, course(tiny, images, tmp_path / "work"))
    assert any("2.png could not be read" in note for note in trained.notes)


def test_frozen_layers_stay_with_their_statistics(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    graph = train(tiny, replace(PLAN, freeze=0.4), course(tiny, images, tmp_path)).model.graph
    for name in ("stem_0", "stem_1"):
        for key, tensor in graph.get_submodule(name).state_dict().items():
            assert torch.equal(tensor, tiny.graph.get_submodule(name).state_dict()[key]), (name, key)
    assert not torch.equal(graph.get_submodule("classifier").weight, tiny.graph.get_submodule("classifier").weight)


def test_frozen_statistics_while_weights_move(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    graph = train(tiny, replace(PLAN, batchnorm="frozen"), course(tiny, images, tmp_path)).model.graph
    norm, before = graph.get_submodule("stem_1"), tiny.graph.get_submodule("stem_1")
    assert torch.equal(norm.running_mean, before.running_mean)
    assert not torch.equal(norm.weight, before.weight)
    assert norm.momentum == before.momentum


def test_patience_ends_a_run_that_gets_no_better(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    plan = replace(PLAN, learning_rate=0.0, epochs=20, patience=2, batchnorm="frozen")
    trained = train(tiny, plan, course(tiny, images, tmp_path))
    assert len(trained.log) == 3
    assert any("no better validation score for 2 epochs" in note for note in trained.notes)


def test_masked_weights_stay_zero(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    with torch.no_grad():
        tiny.graph.get_submodule("expand_0").weight[::2] = 0
    kept = zeros_of(tiny.graph)
    assert set(kept) == {"expand_0"}
    graph = train(tiny, PLAN, course(tiny, images, tmp_path, masks=kept)).model.graph
    weight = graph.get_submodule("expand_0").weight
    assert not weight[::2].any()
    assert weight[1::2].all()
    assert type(graph.get_submodule("expand_0")) is torch.nn.Conv2d


def test_a_teacher_is_asked_once_a_view(
    tiny: Model, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketlens.training import teachers as module

    asked: list[int] = []
    real = module.Teachers.flush

    def counting(self: Any) -> None:
        asked.append(self.asked)
        real(self)

    monkeypatch.setattr(module.Teachers, "flush", counting)
    plan = replace(PLAN, views=1, augment="crop", epochs=3)
    taught = {"objective": Imitation(temperature=2.0), "teachers": (tiny,), "cache": tmp_path / "cache"}
    first = train(tiny, plan, course(tiny, images, tmp_path / "one", **taught))
    assert max(asked) == len(images)
    asked.clear()
    second = train(tiny, plan, course(tiny, images, tmp_path / "two", **taught))
    assert max(asked) == 0
    assert store.digest(first.model) == store.digest(second.model)


def test_without_images_there_is_nothing_to_learn(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2 images"):
        train(tiny, PLAN, course(tiny, images, tmp_path, data=Data()))
