"""What a report is made from: records and measurements, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pocketlens.errors import ConfigError
from pocketlens.types import Json, Measurement, ModelSpec, Profile, Record, Verdict

_JPEG = b"\xff\xd8\xff"
"""How every JPEG file begins."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One pass of the recipe.

    Args:
        record: what it did.
        measurement: of the model as it left it, lowered; None when it was not measured.
        verdict: of the pass against the stage before; None when it was not judged.
    """

    record: Record
    measurement: Measurement | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Photo:
    """One image with what the model answered before and after.

    Args:
        key: names the image (a path, or `file.parquet#17`).
        thumbnail: a small square JPEG; about 10 kB, since it is inlined.
        truth: its label, or None when it has none.
        before: the original's answers, best first: {"label", "probability"}.
        after: the same of the preferred graph.
    """

    key: str
    thumbnail: bytes
    truth: str | None
    before: tuple[Json, ...]
    after: tuple[Json, ...]

    def __post_init__(self) -> None:
        if not self.thumbnail.startswith(_JPEG):
            raise ConfigError(
                f"the thumbnail of {self.key!r} must be a JPEG, got bytes that begin with "
                f"{self.thumbnail[:4]!r}; save it with Pillow as JPEG"
            )

    @property
    def changed(self) -> bool:
        """Whether the best answer differs. Without both answers there is nothing to compare."""
        return bool(self.before and self.after) and _answer(self.before[0]) != _answer(self.after[0])


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything a report shows.

    Args:
        title: for people, usually the model's name.
        command: what the user typed; empty when it was called from Python.
        created: an ISO 8601 date.
        version: of pocketlens.
        spec: of the model.
        profile: of the device that everything was measured on.
        baseline: the original in fp32.
        graphs: what ships, each measured against `baseline` in one race on the test images.
        preferred: the name of the graph that this device should run.
        stages: one a pass, in recipe order.
        verdict: the overall one.
        verdicts: one a graph, by its name.
        layer_times: graph name -> {"layer", "operator", "latency_ms", "share"} an operator, slowest first.
        layer_errors: {"layer", "kind", "sqnr_db", ...} a layer, in graph order.
        sensitivity: {"layer", "part", "sqnr_db", "kl"} for each quantizer alone, the most harmful first.
        contents: part of the bundle -> its bytes in the download; together they are the whole file.
        photos: a few images with answers.
        recipe: the bound recipe as TOML.
        data: split -> {"name", "n", "labelled", "skipped": {key: reason}}.
        seconds: what the run spent its time on; "total" is the whole.
        made_for: the device that the files are for, for people; empty for the one that they were measured on.
    """

    title: str
    command: str
    created: str
    version: str
    spec: ModelSpec
    profile: Profile
    baseline: Measurement
    graphs: tuple[Measurement, ...]
    preferred: str
    stages: tuple[Stage, ...]
    verdict: Verdict
    verdicts: tuple[Verdict, ...]
    layer_times: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    layer_errors: tuple[Json, ...] = ()
    sensitivity: tuple[Json, ...] = ()
    contents: Mapping[str, int] = field(default_factory=dict)
    photos: tuple[Photo, ...] = ()
    recipe: str = ""
    data: Json = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    made_for: str = ""

    def __post_init__(self) -> None:
        names = [graph.name for graph in self.graphs]
        if self.preferred not in names:
            raise ConfigError(
                f"`preferred` must name one of the graphs {', '.join(names) or '(none given)'}, got {self.preferred!r}"
            )
        if len({self.baseline.name, *names}) != len(names) + 1:
            raise ConfigError(f"names of baseline and graphs must differ, got {[self.baseline.name, *names]}")

    @property
    def result(self) -> Measurement:
        """The measurement of the preferred graph."""
        return next(graph for graph in self.graphs if graph.name == self.preferred)

    @property
    def threads(self) -> int | None:
        """The thread count that headlines quote: the first that was timed, or None when none was."""
        return next(iter(self.baseline.latency_ms), None)


def _answer(answer: Json) -> object:
    """What identifies an answer: its index where it has one, since two classes can share a label."""
    return answer.get("index", answer.get("label"))
