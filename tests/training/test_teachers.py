from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import SPEC, TinyNet, randomised
from torch import Tensor, nn

from pocketlens.models.canonical import canonicalise
from pocketlens.models.taps import tapped
from pocketlens.training.pictures import Pictures, Ticket, TrainingImages, to_input
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.teachers import Teachers
from pocketlens.types import ImageSet, Model

CPU = torch.device("cpu")
PLAN = TrainingPlan(augment="crop", views=2)


@pytest.fixture
def second() -> Model:
    torch.manual_seed(5)
    return canonicalise(randomised(TinyNet(), 5), replace(SPEC, name="second"))


def teachers(
    models: Sequence[Model], images: ImageSet, folder: Path, *, plan: TrainingPlan = PLAN, seed: int = 0,
    networks: Sequence[nn.Module] = (),
) -> Teachers:  # fmt: skip
    networks = networks or [m.graph for m in models]
    return Teachers(models, networks, images, plan, seed=seed, side=32, folder=folder, device=CPU)


def batch(models: Sequence[Model], images: ImageSet, asked: dict[int, bool], view: int = 0) -> Pictures:
    sizes = (SPEC.preprocessing, *(m.spec.preprocessing for m in models))
    tickets = [Ticket(i, view, ask) for i, ask in asked.items()]
    return next(TrainingImages(images, sizes, PLAN, seed=0).batches([tickets]))


def answer(model: Model, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return model.graph(to_input(pictures, model.spec.preprocessing, CPU))


def test_one_teachers_answers_are_its_logits(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    pictures = batch([tiny], images, {3: True, 8: True})
    logits, features = teachers([tiny], images, tmp_path).logits(pictures, 0, torch.float32)
    assert torch.equal(logits, answer(tiny, pictures.student).half().float())
    assert features == []


def test_several_answer_with_their_mean(tiny: Model, second: Model, images: ImageSet, tmp_path: Path) -> None:
    pictures = batch([tiny, second], images, {0: True, 5: True, 20: True})
    logits, _ = teachers([tiny, second], images, tmp_path).logits(pictures, 0, torch.float32)
    wanted = (answer(tiny, pictures.student) + answer(second, pictures.student)) / 2
    assert torch.equal(logits, wanted.half().float())
    assert not torch.allclose(logits, answer(tiny, pictures.student), atol=1e-2)


def test_each_sees_its_own_input_size(tiny: Model, second: Model, images: ImageSet, tmp_path: Path) -> None:
    larger = replace(SPEC.preprocessing, resize=48, crop=(48, 48))
    big = replace(second, spec=replace(second.spec, input_shape=(3, 48, 48), preprocessing=larger))
    pictures = batch([tiny, big], images, {1: True, 2: True})
    assert [tuple(views.shape[2:]) for views in pictures.teachers] == [(32, 32), (48, 48)]
    logits, _ = teachers([tiny, big], images, tmp_path).logits(pictures, 0, torch.float32)
    wanted = (answer(tiny, pictures.teachers[0]) + answer(big, pictures.teachers[1])) / 2
    assert torch.equal(logits, wanted.half().float())


def test_what_is_remembered_is_not_asked_again(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    asked = teachers([tiny], images, tmp_path)
    assert not asked.known(0).any()
    first, _ = asked.logits(batch([tiny], images, {3: True, 8: True}), 0, torch.float32)
    assert asked.known(0).nonzero().flatten().tolist() == [3, 8]
    again, _ = asked.logits(batch([tiny], images, {8: False, 3: False}), 0, torch.float32)
    assert torch.equal(again, first.flip(0))
    mixed, _ = asked.logits(batch([tiny], images, {3: False, 4: True}), 0, torch.float32)
    assert torch.equal(mixed[0], first[0])
    assert asked.asked == 3


def test_another_view_has_other_answers_and_the_first_come_back(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    asked = teachers([tiny], images, tmp_path)
    first, _ = asked.logits(batch([tiny], images, {3: True, 8: True}), 0, torch.float32)
    other, _ = asked.logits(batch([tiny], images, {3: True, 8: True}, view=1), 1, torch.float32)
    assert not torch.equal(first, other)
    back, _ = asked.logits(batch([tiny], images, {3: False, 8: False}), 0, torch.float32)
    assert torch.equal(back, first)
    assert asked.asked == 4


def test_another_run_finds_them(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    one = teachers([tiny], images, tmp_path)
    first, _ = one.logits(batch([tiny], images, {3: True, 8: True}), 0, torch.float32)
    one.flush()
    other = teachers([tiny], images, tmp_path)
    assert other.known(0).sum() == 2
    assert not other.known(1).any()
    again, _ = other.logits(batch([tiny], images, {3: False, 8: False}), 0, torch.float32)
    assert torch.equal(again, first)
    assert other.asked == 0


def test_other_teachers_images_seeds_and_distortions_are_not_confused(
    tiny: Model, second: Model, images: ImageSet, tmp_path: Path
) -> None:
    one = teachers([tiny], images, tmp_path)
    one.logits(batch([tiny], images, {3: True}), 0, torch.float32)
    one.flush()
    others = [
        teachers([second], images, tmp_path),
        teachers([tiny, second], images, tmp_path),
        teachers([tiny], images.subset(range(23, -1, -1)), tmp_path),
        teachers([tiny], images, tmp_path, seed=1),
        teachers([tiny], images, tmp_path, plan=replace(PLAN, augment="shift")),
        teachers([tiny], images, tmp_path, plan=replace(PLAN, smallest_crop=0.5)),
    ]
    assert not any(other.known(0).any() for other in others)
    # What does not change pixels does not matter.
    assert teachers([tiny], images, tmp_path, plan=replace(PLAN, learning_rate=9.0, epochs=3)).known(0)[3]


@pytest.mark.parametrize("content", [b"", b"broken", b"\xff" * 100])
def test_a_damaged_file_only_means_asking_again(tiny: Model, images: ImageSet, tmp_path: Path, content: bytes) -> None:
    one = teachers([tiny], images, tmp_path)
    first, _ = one.logits(batch([tiny], images, {3: True}), 0, torch.float32)
    one.flush()
    (file,) = tmp_path.rglob("view0.safetensors")
    file.write_bytes(content)
    other = teachers([tiny], images, tmp_path)
    assert not other.known(0).any()
    again, _ = other.logits(batch([tiny], images, {3: True}), 0, torch.float32)
    assert torch.equal(again, first)


def test_where_nothing_can_be_written_memory_must_do(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    """A view that comes back was counted on when the run began."""
    (tmp_path / "file").write_text("in the way")
    asked = teachers([tiny], images, tmp_path / "file")
    first, _ = asked.logits(batch([tiny], images, {3: True}), 0, torch.float32)
    asked.logits(batch([tiny], images, {3: True}, view=1), 1, torch.float32)
    back, _ = asked.logits(batch([tiny], images, {3: False}), 0, torch.float32)
    assert torch.equal(back, first)


def test_the_first_teachers_features_are_given(tiny: Model, second: Model, images: ImageSet, tmp_path: Path) -> None:
    networks = [tapped(tiny.graph, ["stem_0"]), second.graph]
    pictures = batch([tiny, second], images, {3: True, 8: True})
    asked = teachers([tiny, second], images, tmp_path, networks=networks)
    _, (only,) = asked.logits(pictures, 0, torch.float32)
    with torch.no_grad():
        wanted = tiny.graph.get_submodule("stem_0")(to_input(pictures.student, SPEC.preprocessing, CPU))
    assert torch.equal(only, wanted)


def test_teachers_are_put_into_evaluation_mode(tiny: Model, images: ImageSet, tmp_path: Path) -> None:
    tiny.graph.train()
    before = tiny.graph.get_submodule("stem_1").running_mean.clone()
    teachers([tiny], images, tmp_path).logits(batch([tiny], images, {3: True, 4: True}), 0, torch.float32)
    assert torch.equal(tiny.graph.get_submodule("stem_1").running_mean, before)
