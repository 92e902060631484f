"""Run a squeeze from a model in memory to the files on disk."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pocketlens import recipe as recipes
from pocketlens.report import html
from pocketlens.report.data import ReportData
from pocketlens.squeeze import output
from pocketlens.squeeze.confidence import fit_confidence
from pocketlens.squeeze.contents import contents
from pocketlens.squeeze.diagnosis import Diagnosis, diagnose
from pocketlens.squeeze.elsewhere import account
from pocketlens.squeeze.embedding import fit_whitening
from pocketlens.squeeze.graphs import lower_graphs
from pocketlens.squeeze.measurements import Snapshot, measure_graphs, measure_stages, preferred_graph
from pocketlens.squeeze.photos import compare_photos
from pocketlens.squeeze.plan import Squeezed, SqueezePlan, check_output, flat
from pocketlens.squeeze.shape import keep_shape
from pocketlens.squeeze.trial import trains, try_export
from pocketlens.stages import StageStore
from pocketlens.types import Context, Data, Json, Model, Progress, Record, Silent
from pocketlens.verdict import judge


def run(
    model: Model,
    data: Data,
    plan: SqueezePlan,
    *,
    progress: Progress | None = None,
    say: Callable[[str], Any] = lambda text: None,
) -> Squeezed:
    """Squeeze `model`.

    Args:
        model: a canonical graph in float.
        data: passes read calibration and validation; the final figures come from `test`.
        plan: see SqueezePlan.
        progress: see types.Progress.
        say: told what happens, a line at a time.
    Returns: every figure, and where the files are.
    Raises: OutputError, RecipeError, PassError, TargetError, DataError.
    """
    progress = progress or Silent()
    check_output(plan.out, plan.force)
    torch.manual_seed(plan.seed)
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        work = Path(scratch)
        with clock("probe"):
            profile = plan.target.profile()
        recipe = recipes.bind(plan.recipe, profile)
        snapshots: list[Snapshot] = []

        def on_stage(result: Model, record: Record) -> None:
            snapshots.append(Snapshot(model=result, record=record))
            say(f"{record.name}: {_summary(record)}")

        context = Context(
            data=data,
            original=model,
            work=work,
            cache=plan.cache,
            teachers=plan.teachers,
            seed=plan.seed,
            progress=progress,
        )
        if trains(recipe):
            say("trying the export before training")
            with clock("try export"):
                try_export(recipe, model, context, plan.target)
        store = StageStore(plan.stages) if plan.stages else None
        with clock("passes"):
            final, _ = recipes.run(recipe, model, context, store=store, on_stage=on_stage)
            source = keep_shape(recipe, [model, *(s.model for s in snapshots)], data.calibration, plan)
        with clock("lower"):
            graphs = lower_graphs(final, plan.target, work / "final")
            baseline_folder = work / "fp32"
            baseline_folder.mkdir()
            original = plan.target.lower(model, "fp32", baseline_folder)
            made_for = account(plan.preset, final, plan.out) if plan.preset else None
        with clock("measure"):
            baseline, *measured = measure_graphs(original, graphs, data, plan, progress)
            stages = measure_stages(original, snapshots, data, plan, work, progress)
        for note in output.skipped_notes(data):
            say(note)
        with clock("calibrate"):
            best = next(a for a in graphs if a.name == preferred_graph(measured, next(iter(plan.timed), None)))
            assert data.calibration is not None
            confidence = fit_confidence(best, data.validation or data.calibration, plan.target)
            whitening = fit_whitening(best, final.graph, data.calibration, plan.target)
        with clock("profile layers"):
            assert data.test is not None
            photos = compare_photos(original, best, plan.target, data.test, temperature=confidence.temperature)
            times = {a.name: plan.target.layer_times(a) for a in (original, *graphs)}
            diagnosis = diagnose(snapshots, data, plan.cache, progress)
        with clock("write"):
            size = output.write(
                plan.out,
                graphs,
                measurements=[output.without_size(m) for m in measured],
                preferred=best.name,
                recipe=recipes.to_json(recipe) | {"source": source},
                baseline=flat(baseline),
                profile=output.profile_json(profile) | ({"made_for": plan.preset.name} if plan.preset else {}),
                confidence=confidence,
                whitening=whitening,
                force=plan.force,
            )
        measured = tuple(replace(m, size_bytes=size) for m in measured)
        verdicts = tuple(judge(m.name, baseline, m, speedup=plan.speedup(m)) for m in measured)
        squeezed = Squeezed(
            bundle=plan.out,
            report=plan.report,
            baseline=baseline,
            graphs=measured,
            preferred=best.name,
            stages=stages,
            verdict=next(v for v in verdicts if v.name == best.name),
            verdicts=verdicts,
            recipe=recipe,
            profile=profile,
            confidence=confidence,
            contents=contents(plan.out),
            embedding=None if whitening is None else (whitening.features, whitening.dimensions),
            seconds=clock.total(),
            made_for=made_for,
        )
        html.write(_report(squeezed, model, data, plan, times, diagnosis, photos), plan.report, force=plan.force)
    return squeezed


class _Clock:
    """Wall time by what it was spent on."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - start

    def total(self) -> dict[str, float]:
        return {**self._seconds, "total": time.perf_counter() - self._start}


def _report(
    squeezed: Squeezed,
    model: Model,
    data: Data,
    plan: SqueezePlan,
    times: dict[str, tuple[Json, ...]],
    diagnosis: Diagnosis,
    photos: Any,
) -> ReportData:
    return ReportData(
        title=model.spec.name,
        command=plan.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("pocketlens"),
        spec=model.spec,
        profile=squeezed.profile,
        baseline=squeezed.baseline,
        graphs=squeezed.graphs,
        preferred=squeezed.preferred,
        stages=squeezed.stages,
        verdict=squeezed.verdict,
        verdicts=squeezed.verdicts,
        layer_times=times,
        layer_errors=diagnosis.errors,
        sensitivity=diagnosis.harms,
        contents=squeezed.contents,
        photos=photos,
        recipe=recipes.to_toml(squeezed.recipe),
        data=output.splits_json(data),
        seconds=squeezed.seconds,
        made_for=squeezed.made_for["device"] if squeezed.made_for else "",
    )


def _summary(record: Record) -> str:
    figures = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in record.summary.items()
    )
    return f"{figures} ({record.seconds:.1f} s)"
