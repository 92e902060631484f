"""Open and run an ONNX file in ONNX Runtime, on the CPU. Free of torch: this half ships to the device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from pocketlens.errors import TargetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS_NAME = "weights.bin"
"""What every graph calls its external data."""

_DTYPES = MappingProxyType({"tensor(float)": np.float32, "tensor(float16)": np.float16})

_ERRORS_ONLY = 3
"""ONNX Runtime's severity: at 2 it prints a line for each node it moves or initializer it drops."""

_DISABLED_OPTIMIZERS = ["WeightBiasQuantization"]
"""This one (ORT 1.32) rounds the float weights of a layer between two grids to 8 bits with one scale for all: what
KeepFloat keeps, it undoes, and worse (24.4 instead of 26.1 dB on EfficientNet-Lite0)."""


class Session:
    """An open model: one input of images, the first output is the answer.

    Args:
        session: ONNX Runtime's.
        name: for errors.
    Raises: TargetError when the model does not take one float tensor of rank 4.
    """

    def __init__(self, session: ort.InferenceSession, name: str) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4:
            got = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "none"
            raise TargetError(f"{name}: expected one float input (n, channels, height, width), got {got}; export it so")
        self._session = session
        self._name = name
        self._input = inputs[0].name
        self._dtype = _DTYPES[inputs[0].type]
        self._takes_one = inputs[0].shape[0] == 1
        self._outputs = tuple(output.name for output in session.get_outputs())

    def run(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Compute the first output.

        Args:
            images: (n, channels, height, width), float32, preprocessed; run one by one where the file takes
                one image.
        Returns: (n, ...), float32.
        Raises: TargetError when the shape does not fit or the runtime fails.
        """
        return self._compute(self._outputs[:1], images)[0]

    def run_all(self, images: "NDArray[np.float32]") -> "dict[str, NDArray[np.float32]]":
        """Compute every output.

        Args:
            images: as for `run`.
        Returns: by name, "logits" and, where the network ends in a linear layer, "embedding"; each (n, ...), float32.
        Raises: TargetError as `run` does.
        """
        return dict(zip(self._outputs, self._compute(self._outputs, images), strict=True))

    def _compute(self, names: Sequence[str], images: "NDArray[np.float32]") -> "list[NDArray[np.float32]]":
        if self._takes_one and images.ndim == 4 and len(images) > 1:
            rows = [self._compute(names, image[np.newaxis]) for image in images]
            return [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        feed = {self._input: np.ascontiguousarray(images, self._dtype)}
        try:
            outputs = self._session.run(list(names), feed)
        except Exception as error:  # its exceptions share no base but Exception
            shape = self._session.get_inputs()[0].shape
            raise TargetError(
                f"{self._name}: running images of shape {images.shape} failed, the model takes {shape}: "
                f"{_first_line(error)}"
            ) from error
        return [np.asarray(output, np.float32) for output in outputs]

    def end_profiling(self) -> Path:
        """Stop the profile that `profile_prefix` started; returns its JSON file."""
        return Path(self._session.end_profiling())


def open_session(
    graph: Path | bytes,
    weights: Path | bytes | None,
    options: Mapping[str, str],
    threads: int,
    *,
    profile_prefix: str | None = None,
    spinning: bool = True,
) -> Session:
    """Open a model on the CPU.

    Args:
        graph: an ONNX file or its content.
        weights: what it calls `weights.bin` as external data, or None when weights are inside (or, for a
            file, beside it under their own names).
        options: entries of the session's configuration, for example {"session.disable_quant_qdq": "1"}.
        threads: that one inference may use, at least 1.
        profile_prefix: path and start of the name of a profile to record; see `Session.end_profiling`.
        spinning: whether idle threads wait busily: fastest for one session, but two such in one process slow
            each other by half.
    Raises: TargetError when it is no ONNX model, lacks weights, or needs what this runtime has not.
    """
    if threads < 1:
        raise TargetError(f"`threads` must be at least 1, got {threads}")
    name = str(graph) if isinstance(graph, Path) else "the graph"
    settings = ort.SessionOptions()
    settings.log_severity_level = _ERRORS_ONLY
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    # The CPU arena and memory patterns stay on: off, peak memory was the same (ORT 1.32, 63 MB of weights).
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    if profile_prefix is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile_prefix
    try:
        # Must outlive the constructor below, which copies from it.
        blob = _external(graph, weights)
        if blob is not None:
            settings.add_external_initializers_from_files_in_memory([WEIGHTS_NAME], [blob], [len(blob)])
        model = str(graph) if isinstance(graph, Path) else graph
        session = ort.InferenceSession(
            model, settings, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED_OPTIMIZERS
        )
    except Exception as error:  # its exceptions share no base but Exception
        raise TargetError(f"{name}: ONNX Runtime cannot open it: {_first_line(error)}") from error
    return Session(session, name)


def _external(graph: Path | bytes, weights: Path | bytes | None) -> bytes | None:
    """The content of `weights.bin` to hand over, or None to let the runtime find it.

    Left to itself the runtime maps the file and peaks at half the memory (177 against 333 MB for 63 MB of
    weights, ORT 1.32). A graph without a place on disk gets an empty blob rather than none: with none, the
    runtime would look in the working folder for whatever file name the graph holds.
    """
    if isinstance(weights, Path):
        if isinstance(graph, Path) and weights.name == WEIGHTS_NAME and weights.parent == graph.parent:
            return None
        return weights.read_bytes()
    if weights is None and not isinstance(graph, Path):
        return b""
    return weights


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
