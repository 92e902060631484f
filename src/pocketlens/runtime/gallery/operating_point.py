"""When a match counts: threshold and margin for a stated rate of false accepts."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pocketlens.errors import ConfigError
from pocketlens.runtime.gallery.trials import Held
from pocketlens.tasks import LEVEL, wilson_interval
from pocketlens.types import Json

DEFAULT_THRESHOLD = 0.5
"""Where nothing could be measured."""

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)
"""Those tried. A coarse grid, so that a few photos cannot pick a lucky value."""

_GRID = 1e-4
"""Thresholds are rounded up to it: short in the file."""

_FEW = 20
"""Of so few things the measured rate says little of new ones: docs/gallery.md has what was found."""

Source = Literal["validation", "enrolled", "none"]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Threshold and margin, and what they were set by.

    Args:
        threshold: least cosine.
        margin: least lead over the best other entry.
        source: "validation", photos that were not enrolled; "enrolled", the enrolled ones, each thing in turn taken
            for unseen; "none", nothing could be measured.
        unseen: trials of things that the gallery does not hold.
        false_accepts: how many of those are let through.
        known: trials of things that it holds.
        correct_accepts: how many of those are named rightly and let through.
        things: different things that the unseen trials show, 0 when not known.
    """

    threshold: float
    margin: float
    source: Source
    unseen: int = 0
    false_accepts: int = 0
    known: int = 0
    correct_accepts: int = 0
    things: int = 0

    @property
    def false_accept_rate(self) -> float | None:
        """The share of unseen things let through; None when there was no trial."""
        return self.false_accepts / self.unseen if self.unseen else None

    @property
    def false_accept_interval(self) -> tuple[float, float] | None:
        """Wilson's, at the level of `pocketlens.tasks.LEVEL`; None when there was no trial."""
        return wilson_interval(self.false_accepts, self.unseen) if self.unseen else None

    def to_json(self) -> Json:
        """As JSON-able data."""
        interval = self.false_accept_interval
        return {
            "threshold": self.threshold,
            "margin": self.margin,
            "source": self.source,
            "unseen": self.unseen,
            "false_accepts": self.false_accepts,
            "false_accept_rate": self.false_accept_rate,
            "false_accept_rate_interval": None if interval is None else list(interval),
            "known": self.known,
            "correct_accepts": self.correct_accepts,
            "things": self.things,
        }

    def sentence(self) -> str:
        """What a person should know of it."""
        interval = self.false_accept_interval
        if interval is None:
            return (
                f"false accepts could not be measured: threshold {self.threshold:g} is a guess; "
                "give --validation with photos of things that are not in the gallery"
            )
        how = {"validation": "validation photos", "enrolled": "enrolled photos, their own thing left out"}
        found = (
            f"threshold {self.threshold:.4g}, margin {self.margin:g}: of {self.unseen} unseen "
            f"({how.get(self.source, self.source)}) {self.false_accepts} are accepted, "
            f"{self.false_accepts / self.unseen:.1%} ({interval[0]:.1%} to {interval[1]:.1%} at {LEVEL:.0%} confidence)"
        )
        if self.known:
            found += f"; of {self.known} known {self.correct_accepts} are named rightly and accepted"
        if 0 < self.things < _FEW:
            # Photos of one thing stand or fall together, which no interval over photos shows.
            found += f"; they show {self.things} things, too few to trust: a new thing may pass several times as often"
        return found


def choose(held: Held, rate: float, source: Source, things: int = 0) -> OperatingPoint:
    """The pair that names most known things rightly while it lets through at most `rate` of the unseen ones.

    For each margin the lowest threshold that the rate allows lies just above the cosine of the first unseen photo too
    many. The threshold is put half-way from there to the next known photo that is named rightly: it costs none of
    those tried, and leaves room for what was not. Of equal pairs the one with the smaller margin is taken.

    Args:
        held: the trials.
        rate: of false accepts, above 0 and below 1.
        source: of the trials.
        things: different things that the unseen trials show, 0 when not known.
    Raises: ConfigError when the rate is out of range.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"the false accept rate must lie between 0 and 1, got {rate}; for 5% give 0.05")
    known, unseen = held.known, held.unseen
    if not len(unseen):
        return OperatingPoint(threshold=DEFAULT_THRESHOLD, margin=0.0, source="none")
    allowed = int(rate * len(unseen) + 1e-9)
    # A margin that stops the unseen by itself needs no threshold, but what is far from everything stays unknown.
    floor = float(np.median(unseen.cosine))
    points = []
    for margin in MARGINS:
        rivals = np.sort(unseen.cosine[unseen.lead >= margin])[::-1]
        bar = max(floor, float(rivals[allowed])) if len(rivals) > allowed else floor
        right = known.cosine[known.correct & (known.lead >= margin) & (known.cosine > bar)]
        halfway = (bar + float(right.min())) / 2 if len(right) else bar
        threshold = round(min(1.0, (math.floor(halfway / _GRID) + 1) * _GRID), 4)
        points.append(
            OperatingPoint(
                threshold=threshold,
                margin=margin,
                source=source,
                unseen=len(unseen),
                false_accepts=int(unseen.accepted(threshold, margin).sum()),
                known=len(known),
                things=things,
                correct_accepts=int((known.accepted(threshold, margin) & known.correct).sum()),
            )
        )
    return max(points, key=lambda point: point.correct_accepts)
