"""The PP-OCR files that the rapidocr wheel carries: opset 11, open sizes, SAME_UPPER, taken-apart norms and GELU."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pocketlens.models import vocabulary
from pocketlens.models.onnx.importing import import_onnx

FOUND = find_spec("rapidocr")  # not imported: it would look for its optional parts
FOLDER = Path(FOUND.origin).parent / "models" if FOUND is not None and FOUND.origin else Path("nowhere")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="rapidocr is not installed")


@pytest.mark.parametrize(
    ("pattern", "size", "shape", "wanted"),
    [
        ("*_det_*.onnx", (96, 128), (2, 1, 96, 128), {"conv": 83, "conv_transpose": 2, "gelu": 13, "hardsigmoid": 5}),
        ("*_rec_*.onnx", (48, 160), (2, 20, 18710), {"conv": 57, "layernorm": 5, "gelu": 13, "silu": 5, "linear": 9}),
        ("*_cls_*.onnx", (48, 192), (2, 2), {"conv": 53, "batchnorm": 35, "hardswish": 18}),
    ],
    ids=["detection", "recognition", "orientation"],
)
def test_the_whole_graph_comes_in(
    pattern: str, size: tuple[int, int], shape: tuple[int, ...], wanted: dict[str, int]
) -> None:
    """The import compares with ONNX Runtime itself; here, that it found what the exporter had taken apart."""
    place = next(FOLDER.glob(pattern))
    graph, _ = import_onnx(place, size)
    kinds = [vocabulary.kind(graph, n) for n in graph.graph.nodes]
    assert {kind: kinds.count(kind) for kind in wanted} == wanted
    with torch.inference_mode():
        assert tuple(graph(torch.zeros(2, 3, *size)).shape) == shape
