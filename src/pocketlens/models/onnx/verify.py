"""Compare an imported graph with ONNX Runtime's answer to the file it came from."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from torch import fx

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.canonical import TOLERANCE
from pocketlens.models.onnx.file import OnnxFile

_SIGMOID = 1e-6
"""ONNX Runtime's sigmoid is off by up to 1.3e-7 where it is near 0 (1.32), much of a map of small probabilities."""


def verify(graph: fx.GraphModule, file: OnnxFile, shape: tuple[int, int, int], path: Path) -> None:
    """Give both the same random images, two at once if the file takes so many.

    Raises: ModelError when ONNX Runtime cannot run the file; UnsupportedModelError when the outputs differ.
    """
    x = np.random.default_rng(1).standard_normal((2, *shape), np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = ort.InferenceSession(file.proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        batches = [x] if file.shape[0] is None else [x[:1], x[1:]]
        wanted = np.concatenate([np.asarray(session.run(None, {file.input: b})[0]) for b in batches])
    except Exception as error:  # onnxruntime raises classes of its own, all of them plain Exceptions
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"ONNX Runtime cannot run {path}: {reason}; export it again") from error
    with torch.inference_mode():
        got = graph(torch.from_numpy(x)).numpy()
    if got.shape != wanted.shape:
        raise UnsupportedModelError(f"the import of {path} gives {got.shape}, ONNX Runtime {wanted.shape}")
    error, largest = float(np.abs(got - wanted).max()), float(np.abs(wanted).max())
    if not error <= TOLERANCE * largest + _SIGMOID:
        raise UnsupportedModelError(
            f"the import of {path} differs from ONNX Runtime by {error:.1e}, its largest output is {largest:.1e}; "
            "an operator means something else there: give the PyTorch model"
        )
