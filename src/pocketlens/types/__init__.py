"""The nouns every part of pocketlens shares. Free of torch at run time.

Fractions lie in [0, 1]; units are suffixes (`latency_ms`, `size_bytes`); images are RGB, NCHW, float32.
"""

from pocketlens.types.images import Batch, Data, ImageSet, Preprocessing
from pocketlens.types.json import Json
from pocketlens.types.measurement import (
    SIZE_NOISE,
    Interval,
    Measurement,
    Meter,
    Outcome,
    Spread,
    Task,
    Verdict,
    saves_download_only,
    with_facts,
)
from pocketlens.types.models import Fact, Model, ModelSpec
from pocketlens.types.numerics import IntegerFormat, Scheme
from pocketlens.types.passes import Context, Pass, PassResult, Progress, Record, Silent
from pocketlens.types.targets import Artifact, Profile, RacePlan, Target, Timing

__all__ = [
    "SIZE_NOISE",
    "Artifact",
    "Batch",
    "Context",
    "Data",
    "Fact",
    "ImageSet",
    "IntegerFormat",
    "Interval",
    "Json",
    "Measurement",
    "Meter",
    "Model",
    "ModelSpec",
    "Outcome",
    "Pass",
    "PassResult",
    "Preprocessing",
    "Profile",
    "Progress",
    "RacePlan",
    "Record",
    "Scheme",
    "Silent",
    "Spread",
    "Target",
    "Task",
    "Timing",
    "Verdict",
    "saves_download_only",
    "with_facts",
]
