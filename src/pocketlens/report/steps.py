"""The download step by step, and what it consists of in the end."""

from dataclasses import dataclass
from typing import Literal

from pocketlens.report import figures
from pocketlens.report.data import ReportData
from pocketlens.types import SIZE_NOISE, Measurement, saves_download_only

StepKind = Literal["original", "pass", "bundle"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One state of the model.

    Args:
        name: for people: "fp32", "2. PruneChannels", "bundle".
        kind: the original, what a pass left, or what ships.
        before: of the step before it; its own for the first.
        measurement: of it.
    """

    name: str
    kind: StepKind
    before: Measurement
    measurement: Measurement

    @property
    def size_bytes(self) -> int:
        """Of its download."""
        return self.measurement.size_bytes

    @property
    def change(self) -> str:
        """By how much the download changed: "−77%"; empty for the first, and within the noise."""
        share = self.size_bytes / self.before.size_bytes - 1
        if abs(share) <= SIZE_NOISE:
            return ""
        return f"{figures.MINUS if share < 0 else '+'}{abs(share):.0%}"

    @property
    def download_only(self) -> bool:
        """Whether a pass saved download, and nothing on disk."""
        return self.kind == "pass" and saves_download_only(self.before, self.measurement)

    @property
    def same(self) -> float | None:
        """Share of images with the original's answer; 1 for the original itself, None where it was not measured."""
        found = 1.0 if self.kind == "original" else self.measurement.fidelity.get("agreement")
        return found if figures.known(found) else None


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the bundle: its share of the file, and where it begins, both in [0, 1]."""

    name: str
    size_bytes: int
    start: float
    share: float


def steps(data: ReportData) -> tuple[Step, ...]:
    """The original, every measured pass, and what ships; empty where no step changed the download."""
    found: list[tuple[str, StepKind, Measurement]] = [(data.baseline.name, "original", data.baseline)]
    for place, stage in enumerate(data.stages, 1):
        if stage.measurement is not None:
            found.append((f"{place}. {stage.record.name}", "pass", stage.measurement))
    found.append(("bundle", "bundle", data.result))
    found = [entry for entry in found if figures.present(entry[2].size_bytes)]
    befores = [found[0][2], *(m for _, _, m in found)] if found else []
    chain = tuple(
        Step(name=name, kind=kind, before=before, measurement=m)
        for (name, kind, m), before in zip(found, befores, strict=False)
    )
    return chain if any(step.change for step in chain) else ()


def parts(data: ReportData) -> tuple[Part, ...]:
    """What the bundle consists of, in the order given."""
    whole = sum(data.contents.values())
    found, start = [], 0
    for name, size_bytes in data.contents.items():
        if size_bytes > 0:
            found.append(Part(name=name, size_bytes=size_bytes, start=start / whole, share=size_bytes / whole))
        start += size_bytes
    return tuple(found)
