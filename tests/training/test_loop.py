"""The loop: what is learned, what is chosen, what is refused."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import SPEC
from tests.training.conftest import PLAN, course
from torch import Tensor, nn

from pocketlens.datasets.folder import folder
from pocketlens.errors import DataError, ModelError
from pocketlens.models import store
from pocketlens.models.taps import Tap
from pocketlens.ops.masks import zeros_of
from pocketlens.training.course import Course
from pocketlens.training.loop import train
from pocketlens.training.objectives import Imitation, Lesson
from pocketlens.types import Data, ImageSet, Model


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


def broken(photos: Path, place: Path, *names: str) -> ImageSet:
    """The pictures, those with `names` unreadable."""
    shutil.copytree(photos, place)
    for name in names:
        (place / name).write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    return folder(place, SPEC.class_ids, SPEC.labels)


def test_an_unreadable_image_is_left_out_and_named(tiny: Model, photos: Path, tmp_path: Path) -> None:
    images = broken(photos, tmp_path / "photos", "dog/2.png")
    trained = train(tiny, PLAN, course(tiny, images, tmp_path / "work"))
    (note,) = trained.notes
    assert note.startswith("dog/2.png could not be read and was left out: expected a whole PNG")


def test_a_batch_of_which_one_image_is_left(tiny: Model, photos: Path, tmp_path: Path) -> None:
    """No step is taken, but the teacher is asked: a later epoch meets the image in better company."""
    images = broken(photos, tmp_path / "photos", "dog/2.png")
    plan = replace(PLAN, batch_size=2, views=1, epochs=4)
    taught = course(tiny, images, tmp_path / "work", objective=Imitation(temperature=2.0), teachers=(tiny,))
    trained = train(tiny, plan, taught)
    assert len(trained.log) == 4
    assert all(line["loss"] >= 0 for line in trained.log)


def test_nothing_can_be_read(tiny: Model, photos: Path, images: ImageSet, tmp_path: Path) -> None:
    names = [f"{name}/{place}.png" for name in SPEC.class_ids for place in range(6)]
    spoilt = broken(photos, tmp_path / "photos", *names)
    for given in ({}, {"objective": Imitation(temperature=2.0), "teachers": (tiny,)}):
        data = Data(train=spoilt, validation=images)
        with pytest.raises(DataError, match=r"photos has no two readable images in a batch.*\.png"):
            train(tiny, PLAN, course(tiny, images, tmp_path / "work", data=data, **given))


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
    with pytest.raises(DataError, match="at least 2"):
        train(tiny, PLAN, course(tiny, images, tmp_path, data=Data()))


def taught(model: Model, images: ImageSet, work: Path, *teachers: Model, **changes: Any) -> Course:
    return course(model, images, work, objective=Imitation(temperature=2.0), teachers=teachers, **changes)


def test_who_already_answers_like_the_teacher_stays(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    """Nothing pulls at it but rounding: the teacher's answers are kept in half precision."""
    plan = replace(PLAN, batchnorm="frozen", weight_decay=0.0)
    graph = train(tiny, plan, taught(tiny, images, tmp_path, tiny)).model.graph
    for name, weight in graph.named_parameters():
        assert torch.allclose(weight, tiny.graph.get_parameter(name), atol=1e-3), name


def test_a_cache_that_cannot_be_written_costs_only_questions(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    plan = replace(PLAN, augment="crop", views=2, epochs=4)
    one = train(tiny, plan, taught(tiny, images, tmp_path / "one", tiny, cache=tmp_path / "cache"))
    other = train(tiny, plan, taught(tiny, images, tmp_path / "two", tiny, cache=tmp_path / "fine"))
    assert store.digest(one.model) == store.digest(other.model)


@dataclass
class Listening:
    """An objective that keeps what it was given."""

    lessons: list[tuple[Tensor, Lesson]]
    extra: None = None

    def __call__(self, logits: Tensor, lesson: Lesson) -> Tensor:
        self.lessons.append((logits.detach(), lesson))
        return logits.square().mean()

    def __str__(self) -> str:
        return "Listening"


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_a_mixed_picture_is_compared_with_what_teachers_say_of_both(
    tiny: Model, images: ImageSet, tmp_path: Path, mixup: float
) -> None:
    """The first convolution is linear: its map of a mixed picture is the mix of its maps."""
    heard = Listening([])
    tap = Tap(node="stem_0", channels=8, size=(16, 16))
    plan = replace(PLAN, mixup=mixup, epochs=1, batchnorm="frozen")
    train(tiny, plan, course(tiny, images, tmp_path, objective=heard, teachers=(tiny,), taps=((tap, tap),)))
    logits, lesson = heard.lessons[0]
    assert lesson.teacher is not None
    assert (lesson.mixed is None) == (mixup == 0.0)
    assert torch.allclose(lesson.student_features[0], lesson.teacher_features[0], atol=1e-4)
    if not mixup:
        assert torch.allclose(logits, lesson.teacher, atol=1e-2)


class Closing:
    """A constraint that lets ever fewer weights of a layer through."""

    def before_step(self, network: nn.Module, done: float) -> None:
        """Gradients stay."""

    def after_step(self, network: nn.Module, done: float, step: float) -> None:
        mask = network.get_submodule("expand_0").parametrizations.weight[0].mask  # pyright: ignore
        mask[: round(8 * (done + step))] = 0

    def __str__(self) -> str:
        return "Closing"


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_mask_that_closes_while_training_is_closed_at_the_end(
    tiny: Model, images: ImageSet, tmp_path: Path, ema: float
) -> None:
    whole = {"expand_0": torch.ones(16, 8, 1, 1)}
    given = course(tiny, images, tmp_path, masks=whole, constraints=(Closing(),), choose="last")
    weight = train(tiny, replace(PLAN, ema=ema), given).model.graph.get_submodule("expand_0").weight
    assert not weight[:8].any()
    assert weight[8:].all()


def test_a_frozen_network_has_nothing_to_learn(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="`freeze` leaves nothing to train; lower it"):
        train(tiny, replace(PLAN, freeze=0.99), course(tiny, images, tmp_path))


def test_bfloat16_is_said_and_learns(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    trained = train(tiny, replace(PLAN, precision="bfloat16", epochs=3), course(tiny, images, tmp_path))
    assert trained.precision == "bfloat16"
    assert {p.dtype for p in trained.model.graph.parameters()} == {torch.float32}
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]


def test_without_validation_images_the_last_epoch_is_kept(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    trained = train(tiny, replace(PLAN, patience=1), course(tiny, images, tmp_path, data=Data(calibration=images)))
    assert trained.best is None
    assert [line["validation"] for line in trained.log] == [None, None]
    assert trained.notes == ()


def test_of_a_run_that_gets_worse_the_best_epoch_is_kept(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    """It knows cats, and is taught everything else."""
    cats, others = images.subset(range(6)), images.subset(range(6, 24))
    knows = train(tiny, replace(PLAN, epochs=4), course(tiny, cats, tmp_path / "before")).model
    plan = replace(PLAN, epochs=8, warmup=0.5)
    data = Data(train=others, validation=cats)
    trained = train(knows, plan, course(knows, images, tmp_path / "best", data=data))
    scores = [line["validation"] for line in trained.log]
    assert trained.best is not None
    assert scores[-1] < max(scores) == trained.best.value
    assert share_right(trained.model, cats) == max(scores)
    last = train(knows, plan, course(knows, images, tmp_path / "last", data=data, choose="last"))
    assert last.best is not None
    assert share_right(last.model, cats) == last.best.value == scores[-1]


def test_a_lesson_that_only_harms_returns_what_came_in(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    cats, others = images.subset(range(6)), images.subset(range(6, 24))
    knows = train(tiny, replace(PLAN, epochs=6), course(tiny, cats, tmp_path / "before")).model
    before = share_right(knows, cats)
    data = Data(train=others, validation=cats)
    plan = replace(PLAN, epochs=2, warmup=0.0, learning_rate=0.5)
    trained = train(knows, plan, course(knows, images, tmp_path / "harm", data=data))
    assert trained.best is not None
    assert trained.best.value == before
    assert max(line["validation"] for line in trained.log) < trained.best.value
    assert store.digest(trained.model) == store.digest(knows)
    assert any("no epoch scored better" in note for note in trained.notes)


def share_right(model: Model, images: ImageSet) -> float:
    batch = next(iter(images.batches(SPEC.preprocessing, len(images))))
    answers = model.graph(torch.from_numpy(batch.images)).argmax(1).numpy()
    return pytest.approx((answers == batch.labels).mean())


def test_an_average_only_watches(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    plain, watched = (
        train(tiny, replace(PLAN, ema=ema), course(tiny, images, tmp_path / str(ema))) for ema in (0.0, 0.9)
    )
    assert [line["loss"] for line in plain.log] == [line["loss"] for line in watched.log]
    assert store.digest(plain.model) != store.digest(watched.model)


def test_a_clipped_step_is_short(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    plan = replace(PLAN, clip=1e-3, momentum=0.0, weight_decay=0.0, warmup=0.0)
    graph = train(tiny, plan, course(tiny, images, tmp_path)).model.graph
    moved = sum(float((p - tiny.graph.get_parameter(n)).detach().square().sum()) for n, p in graph.named_parameters())
    assert 0 < moved**0.5 <= 6 * plan.learning_rate * plan.clip * 1.01  # six steps


def test_workers_change_nothing(tiny: Model, images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pocketlens.training.pictures as module

    plan = replace(PLAN, augment="crop", mixup=0.2)
    alone = train(tiny, plan, taught(tiny, images, tmp_path / "one", tiny))
    monkeypatch.setattr(module, "_FEW", 0)  # so few images are not given to workers otherwise
    helped = train(tiny, plan, taught(tiny, images, tmp_path / "two", tiny))
    assert store.digest(alone.model) == store.digest(helped.model)
