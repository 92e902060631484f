import hashlib
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pocketlens import recipe as recipes
from pocketlens.datasets.folder import folder
from pocketlens.errors import PassError, RecipeError, TargetError
from pocketlens.models import store
from pocketlens.models.canonical import clone
from pocketlens.passes.distil import Distil
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.passes.keep_float import KeepFloat
from pocketlens.passes.match_moments import MatchMoments
from pocketlens.passes.prune_channels import PruneChannels
from pocketlens.passes.prune_weights import PruneWeights
from pocketlens.passes.quantize_aware import QuantizeAware
from pocketlens.passes.quantize_static import QuantizeStatic
from pocketlens.recipe import Chain
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.squeeze.plan import SqueezePlan
from pocketlens.squeeze.run import run
from pocketlens.squeeze.trial import trains, try_export
from pocketlens.stages import StageStore
from pocketlens.targets import load_target
from pocketlens.targets.form import Form
from pocketlens.targets.onnxruntime.schemes import SCHEMES
from pocketlens.targets.onnxruntime.target import OnnxRuntime
from pocketlens.types import Context, Data, ImageSet, Model, Target

TARGET: Target = load_target("onnxruntime")
SCHEME = SCHEMES["u8u8"]
ONE_IMAGE: Target = OnnxRuntime(form=Form(batch=1))
"""As for a device whose compiler wants whole 8-bit grids and a fixed batch."""

LESSON = Distil(epochs=1, batch_size=8, augment="none", precision="float32")


def recipe(bits: int | None = None) -> Chain:
    prune = PruneChannels(ratio=0.3, multiple=1, criterion="taylor", images=24, steps=2)
    return Chain(prune, LESSON, FoldBatchNorm(), QuantizeStatic(scheme=SCHEME, activation_bits=bits), MatchMoments())


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_what_cannot_be_exported_fails_before_any_training(
    tiny: Model, images: ImageSet, tmp_path: Path, scratch: Path
) -> None:
    """Through the whole of squeeze: no stage, no log and no bundle is there afterwards."""
    said: list[str] = []
    plan = SqueezePlan(recipe=recipe(7), target=ONE_IMAGE, out=tmp_path / "t.lens", stages=tmp_path / "stages")
    data = Data(train=images, calibration=images, validation=images, test=images)
    with pytest.raises(
        TargetError, match=r"what pass 4 of 5, QuantizeStatic, makes, so nothing was trained: .*128 levels"
    ):
        run(tiny, data, plan, say=said.append)
    assert said == ["trying the export before training"]
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert not list(scratch.iterdir())


def test_a_pass_that_fails_behind_the_training_is_named(tiny: Model, context: Context) -> None:
    keep = KeepFloat(layers=("nowhere",), worst=0, scheme=SCHEME)
    chain = Chain(LESSON, FoldBatchNorm(), QuantizeStatic(scheme=SCHEME), keep)
    with pytest.raises(PassError, match=r"pass 4 of 4, KeepFloat, tried on 2 images before any training: .*nowhere"):
        try_export(chain, tiny, context, TARGET)
    with pytest.raises(RecipeError, match="pass 2 of 2, QuantizeStatic, requires"):
        try_export(Chain(LESSON, QuantizeStatic(scheme=SCHEME)), tiny, context, TARGET)


def test_a_model_that_the_target_cannot_take_at_all(tiny: Model, context: Context) -> None:
    odd = clone(tiny)
    start = next(node for node in odd.graph.graph.nodes if node.op == "placeholder")
    with odd.graph.graph.inserting_after(start):
        new = odd.graph.graph.create_node("call_function", torch.linalg.inv, (start,), name="odd_one")
    start.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    odd.graph.recompile()
    wanted = r"cannot take the model as it came in, so nothing was trained: .*layer odd_one of tiny.*the target litert"
    with pytest.raises(TargetError, match=wanted):
        try_export(Chain(LESSON), odd, context, TARGET)


def test_a_good_recipe_ends_as_without_the_trial(tiny: Model, context: Context, tmp_path: Path, scratch: Path) -> None:
    files = []
    for tried in (False, True):
        own = replace(context, work=tmp_path / f"work{tried}", cache=tmp_path / f"cache{tried}")
        for place in (own.work, tmp_path / f"cache{tried}"):
            place.mkdir()
        torch.manual_seed(0)
        if tried:
            state = torch.random.get_rng_state()
            try_export(recipe(), tiny, own, TARGET)
            assert torch.equal(torch.random.get_rng_state(), state)
            assert not list(scratch.iterdir())
            assert not [*own.work.iterdir(), *(tmp_path / "cacheTrue").iterdir()]
        stages = StageStore(tmp_path / f"stages{tried}")
        model, _ = recipes.run(recipe(), tiny, own, store=stages)
        graphs = lower_graphs(model, TARGET, tmp_path / f"graphs{tried}")
        written = [graphs[0].weights, *(graph.graph for graph in graphs)]
        files.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in written if path])
        names = {path.name for path in (tmp_path / f"stages{tried}").iterdir()}
        files[-1].extend(sorted(names))
    assert files[0] == files[1]


def test_a_shipped_recipe_passes_and_leaves_model_and_images_alone(
    tiny: Model, context: Context, photos: Path, tmp_path: Path
) -> None:
    """The first image cannot be read; the set must hear of it from the run alone."""
    shutil.copytree(photos, tmp_path / "set")
    (tmp_path / "set" / "cat" / "0.png").write_bytes(b"")
    images = folder(tmp_path / "set", tiny.spec.class_ids, tiny.spec.labels)
    before = store.digest(tiny)
    fast = recipes.bind(recipes.read("fast"), TARGET.profile())
    try_export(fast, tiny, replace(context, data=Data(train=images, calibration=images)), TARGET)
    assert store.digest(tiny) == before
    assert not images.skipped


def test_only_recipes_that_train_are_tried() -> None:
    assert not trains(recipes.read("int8"))
    assert not trains(Chain(PruneWeights()))
    assert trains(Chain(PruneWeights(schedule="gradual")))
    assert trains(recipes.read("fast"))


def test_training_that_quantizes_takes_one_step(tiny: Model, context: Context) -> None:
    """500 epochs would take minutes; a device that wants 8 bits says so after one step on two images."""
    aware = QuantizeAware(scheme=SCHEME, epochs=500, activation_bits=4)
    start = time.process_time()
    with pytest.raises(TargetError, match=r"what pass 2 of 2, QuantizeAware, makes, .* got 16 levels"):
        try_export(Chain(LESSON, aware), tiny, context, ONE_IMAGE)
    assert time.process_time() - start < 30
