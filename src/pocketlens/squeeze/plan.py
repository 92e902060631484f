"""What a squeeze is asked to do, and what comes of it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from pocketlens import recipe as recipes
from pocketlens.bundle.confidence import Confidence
from pocketlens.errors import ConfigError, OutputError
from pocketlens.report.data import Stage
from pocketlens.squeeze.elsewhere import check_fits
from pocketlens.targets.presets.preset import Preset
from pocketlens.targets.presets.simulated import Simulated
from pocketlens.types import Interval, Json, Measurement, Model, Profile, Target, Verdict


@dataclass(frozen=True, kw_only=True)
class SqueezePlan:
    """What to do.

    Args:
        recipe: bound to the target's profile when it runs.
        target: lowers, runs and times; a `Simulated` one lowers for a device that is elsewhere, and times nothing.
        out: the bundle to write; the report goes beside it as .html.
        threads: thread counts to time; the first is the one that headlines quote.
        seed: makes the run repeatable.
        force: write over an existing bundle.
        stages: folder of the stage store, or None to keep nothing.
        cache: folder that runs share, for teachers' answers; None keeps them for this run.
        teachers: for distillation; empty means the model itself.
        command: for the report, what the user typed.
    """

    recipe: recipes.Chain
    target: Target
    out: Path
    threads: tuple[int, ...] = (1, 2)
    seed: int = 0
    force: bool = False
    stages: Path | None = None
    cache: Path | None = None
    teachers: tuple[Model, ...] = ()
    command: str = ""

    def __post_init__(self) -> None:
        if self.target.name != "onnxruntime":
            raise ConfigError(
                f"a bundle holds ONNX graphs, so squeeze works with the target onnxruntime, got {self.target.name}; "
                "squeeze with that, then `pocketlens export --format` makes another runtime's file from the bundle"
            )
        if self.preset is not None:
            check_fits(self.recipe, self.preset)

    @property
    def preset(self) -> Preset | None:
        """What is known of the device that the files are for, where it is not this one."""
        return self.target.preset if isinstance(self.target, Simulated) else None

    @property
    def timed(self) -> tuple[int, ...]:
        """`threads`, but none where the device is elsewhere: how fast this one is says nothing of that one."""
        return () if self.preset is not None else self.threads

    def speedup(self, measured: Measurement) -> Interval | None:
        """Against its baseline at the thread count that headlines quote; None where nothing was timed."""
        return measured.speedup[self.timed[0]] if self.timed else None

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return report_path(self.out)


@dataclass(frozen=True, kw_only=True)
class Squeezed:
    """What came of it.

    Args:
        bundle: the file that ships.
        report: the HTML file.
        baseline: the original in float.
        graphs: of the bundle, each measured; `size_bytes` is the whole bundle's.
        preferred: the graph that this device should run.
        stages: one a pass, in order.
        verdict: of the preferred graph against the baseline.
        verdicts: one a graph.
        recipe: bound.
        profile: of the device.
        confidence: how the preferred graph's logits become confidences.
        contents: part of the bundle -> its bytes in the download; together they are the whole file.
        embedding: lengths of a graph's embedding and of the vector that the bundle makes of it; None without one.
        seconds: {"total", "passes", "lower", "measure" ...}.
        made_for: the device that is elsewhere, see `elsewhere.account`; None when the files are for this one.
    """

    bundle: Path
    report: Path
    baseline: Measurement
    graphs: tuple[Measurement, ...]
    preferred: str
    stages: tuple[Stage, ...]
    verdict: Verdict
    verdicts: tuple[Verdict, ...]
    recipe: recipes.Chain
    profile: Profile
    confidence: Confidence
    contents: dict[str, int]
    embedding: tuple[int, int] | None
    seconds: dict[str, float]
    made_for: Json | None = None

    @property
    def result(self) -> Measurement:
        """The preferred graph's measurement."""
        return next(m for m in self.graphs if m.name == self.preferred)

    def to_json(self) -> Json:
        """What `--json` prints."""
        return {
            "baseline": flat(self.baseline),
            "result": flat(self.result),
            "graphs": {m.name: flat(m) for m in self.graphs},
            "preferred": self.preferred,
            "verdict": asdict(self.verdict),
            "verdicts": {v.name: asdict(v) for v in self.verdicts},
            "stages": [_stage_json(s) for s in self.stages],
            "recipe": recipes.to_json(self.recipe),
            "target": {
                "name": self.profile.runtime.split()[0],
                "runtime": self.profile.runtime,
                "device": self.profile.device,
                "cpu": self.profile.cpu,
                "scheme": self.profile.scheme.name if self.profile.scheme else None,
            },
            "made_for": self.made_for,
            "confidence": self.confidence.to_json(),
            "embedding": self.embedding and dict(zip(("features", "dimensions"), self.embedding, strict=True)),
            "contents": self.contents,
            "bundle": str(self.bundle),
            "report": str(self.report),
            "seconds": self.seconds["total"],
            "seconds_of": self.seconds,
        }


def flat(measurement: Measurement) -> Json:
    """A measurement as one JSON object: fidelity beside the rest, `latency_ms` of the first thread count or None."""
    data = asdict(measurement)
    fidelity = data.pop("fidelity")
    del data["turns_ms"]
    by_threads = {str(t): spread for t, spread in data.pop("latency_ms").items()}
    first = next(iter(by_threads), None)
    return {
        **data,
        **fidelity,
        "top1": fidelity.get("top1"),
        "top5": fidelity.get("top5"),
        "speedup": {str(t): interval for t, interval in data["speedup"].items()},
        "latency_ms": None if first is None else {**by_threads[first], "threads": int(first)},
        "latency_ms_by_threads": by_threads,
    }


def check_output(out: Path, force: bool) -> None:
    """Refuse an output that can't be written before any work is done. Raises OutputError."""
    for path in (out, report_path(out)):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file, like {path / 'model.lens'}")
        if path.exists() and not force:
            raise OutputError(f"{path} exists; pass --force to write over it, or another --out")
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist; make it, or name another --out")


def report_path(out: Path) -> Path:
    """The report beside a bundle: lite0.lens -> lite0.html."""
    return out.with_suffix(".html")


def _stage_json(stage: Stage) -> Json:
    return {
        "record": asdict(stage.record),
        "measurement": flat(stage.measurement) if stage.measurement else None,
        "verdict": asdict(stage.verdict) if stage.verdict else None,
    }
