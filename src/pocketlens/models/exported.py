"""Models that come as a file of another tool: .onnx and .pt2."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import fx

from pocketlens.models import vocabulary
from pocketlens.models.stated import StatedPreprocessing
from pocketlens.tasks import TASKS
from pocketlens.types import Fact, Model, ModelSpec

Importer = Callable[[Path, tuple[int, int] | None], tuple[fx.GraphModule, tuple[int, int, int]]]
"""(file, its input size where it leaves that open) -> a graph that was compared with the file, its (c, h, w)."""


def _onnx(path: Path, size: tuple[int, int] | None) -> tuple[fx.GraphModule, tuple[int, int, int]]:
    from pocketlens.models.onnx.importing import import_onnx

    return import_onnx(path, size)


def _program(path: Path, size: tuple[int, int] | None) -> tuple[fx.GraphModule, tuple[int, int, int]]:
    from pocketlens.models.pt2.importing import import_program

    return import_program(path, size)


FORMATS: dict[str, Importer] = {".onnx": _onnx, ".pt2": _program}
"""Suffix -> how it is read."""


def from_file(path: Path, stated: StatedPreprocessing) -> Model:
    """The model in a file, as a canonical graph.

    Args:
        path: its suffix is a key of FORMATS.
        stated: how images become its input.
    Raises: ModelError, UnsupportedModelError, ConfigError.
    """
    graph, shape = FORMATS[path.suffix.lower()](path, stated.size)
    spec = ModelSpec(name=path.stem, input_shape=shape, preprocessing=stated.complete(shape[1], shape[2]))
    with torch.inference_mode():
        output = graph(torch.zeros(2, *shape))
    TASKS[spec.task].check_output(tuple(output.shape), spec)
    kinds = {vocabulary.kind(graph, node) for node in graph.graph.nodes}
    facts: frozenset[Fact] = frozenset({"batchnorm"}) if "batchnorm" in kinds else frozenset()
    return Model(graph=graph, spec=spec, facts=facts)
