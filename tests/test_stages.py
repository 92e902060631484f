from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from pocketlens import recipe as recipes
from pocketlens.models import store
from pocketlens.passes.fold_batch_norm import FoldBatchNorm
from pocketlens.recipe import Chain, pass_to_json
from pocketlens.stages import StageStore
from pocketlens.types import Context, Model, PassResult

STEP = pass_to_json(FoldBatchNorm())


def test_a_second_run_reuses_the_first(tiny: Model, context: Context, tmp_path: Path) -> None:
    stages = StageStore(tmp_path / "stages")
    first, _ = recipes.run(Chain(FoldBatchNorm()), tiny, context, store=stages)
    place = tmp_path / "stages" / stages.key(tiny, STEP, replace(context, unquantized=tiny))
    kept = (place / "record.json").stat().st_mtime_ns
    second, records = recipes.run(Chain(FoldBatchNorm()), tiny, context, store=stages)
    assert (place / "record.json").stat().st_mtime_ns == kept
    assert store.digest(first) == store.digest(second)
    assert records[0].summary == {"folded": 4, "kept": 0}


def test_the_key_follows_everything_that_decides_the_result(tiny: Model, context: Context, tmp_path: Path) -> None:
    stages = StageStore(tmp_path)
    key = stages.key(tiny, STEP, context)
    assert stages.key(tiny, STEP, context) == key
    assert stages.key(tiny, {**STEP, "x": 1}, context) != key
    assert stages.key(tiny, STEP, replace(context, seed=1)) != key
    fewer = replace(context.data, calibration=context.data.calibration.subset([0, 1]))  # pyright: ignore
    assert stages.key(tiny, STEP, replace(context, data=fewer)) != key
    with torch.no_grad():
        next(tiny.graph.parameters()).add_(1e-3)
    assert stages.key(tiny, STEP, context) != key


def test_a_damaged_stage_is_made_again(tiny: Model, context: Context, tmp_path: Path) -> None:
    stages = StageStore(tmp_path)
    result = FoldBatchNorm()(tiny, context)
    stages.save("abc", result)
    assert stages.load("abc") is not None
    (tmp_path / "abc" / "record.json").write_text("{")
    assert stages.load("abc") is None
    assert not (tmp_path / "abc").exists()
    assert stages.load("missing") is None


def test_the_oldest_go_beyond_the_limit(tiny: Model, context: Context, tmp_path: Path) -> None:
    result = FoldBatchNorm()(tiny, context)
    StageStore(tmp_path).save("aa", result)
    size = sum(f.stat().st_size for f in (tmp_path / "aa").rglob("*") if f.is_file())
    stages = StageStore(tmp_path, limit_bytes=int(size * 1.5))
    stages.save("bb", result)
    assert [p.name for p in tmp_path.iterdir()] == ["bb"]


def test_a_store_that_cannot_be_written_stops_nothing(tiny: Model, context: Context, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    StageStore(blocked).save("aa", FoldBatchNorm()(tiny, context))
    assert StageStore(blocked).load("aa") is None


def test_a_stage_that_was_killed_finds_its_folder_again(tiny: Model, context: Context, tmp_path: Path) -> None:
    """What a pass keeps in `context.work` outlives the process, and goes when the stage is whole."""
    stages = StageStore(tmp_path / "stages")
    seen: list[list[str]] = []

    @dataclass(frozen=True, kw_only=True)
    class Interrupted(FoldBatchNorm):
        def __call__(self, model: Model, context: Context) -> PassResult:
            seen.append(sorted(path.name for path in context.work.iterdir()))
            (context.work / "half").write_text("of the work")
            if len(seen) == 1:
                raise KeyboardInterrupt
            return super().__call__(model, context)

    chain = Chain(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        recipes.run(chain, tiny, context, store=stages)
    recipes.run(chain, tiny, context, store=stages)
    assert seen == [[], ["half"]]
    assert not list((tmp_path / "stages").glob("*.work"))
