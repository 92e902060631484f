"""Open and run an OpenVINO IR (or an ONNX file) on the CPU. Free of torch: this half ships to the device."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from pocketlens.errors import TargetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SETTINGS: Mapping[str, str] = {
    # Left to itself the plugin computes float files in bfloat16 where it can (8 bits of mantissa).
    "INFERENCE_PRECISION_HINT": "f32",
    # Left to itself it quantizes the input of linear layers with compressed weights, whose answers then differ.
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "NUM_STREAMS": "1",
}
"""What every file is opened with, so that it computes what it says."""


class Session:
    """An open model: one input of images, the first output is the answer.

    Args:
        compiled: OpenVINO's.
        name: for errors.
    Raises: TargetError when the model does not take one float tensor of rank 4.
    """

    def __init__(self, compiled: openvino.CompiledModel, name: str) -> None:
        inputs = [(i.element_type.get_type_name(), str(i.partial_shape)) for i in compiled.inputs]
        if len(inputs) != 1 or inputs[0][0] != "f32" or compiled.input(0).partial_shape.rank != 4:
            got = ", ".join(" ".join(one) for one in inputs) or "none"
            raise TargetError(f"{name}: expected one float input (n, channels, height, width), got {got}; export it so")
        self._request = compiled.create_infer_request()
        self._name = name
        self._shape = inputs[0][1]
        self._outputs = tuple(_output_name(output, place) for place, output in enumerate(compiled.outputs))

    def run(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Compute the first output.

        Args:
            images: (n, channels, height, width), float32, preprocessed.
        Returns: (n, ...), float32.
        Raises: TargetError when the shape does not fit or the runtime fails.
        """
        self._infer(images)
        return self._output(0)

    def run_all(self, images: "NDArray[np.float32]") -> "dict[str, NDArray[np.float32]]":
        """Compute every output.

        Args:
            images: as for `run`.
        Returns: by name, "logits" and, where the network ends in a linear layer, "embedding"; each (n, ...), float32.
        Raises: TargetError as `run` does.
        """
        self._infer(images)
        return {name: self._output(place) for place, name in enumerate(self._outputs)}

    def operators(self) -> list[tuple[str, str, float]]:
        """(name, what ran, milliseconds) of each operator of the last run, for a session opened with `profiling`."""
        return [
            (info.node_name, f"{info.node_type} {info.exec_type}", info.real_time.total_seconds() * 1e3)
            for info in self._request.get_profiling_info()
            if info.status == openvino.ProfilingInfo.Status.EXECUTED
        ]

    def _infer(self, images: "NDArray[np.float32]") -> None:
        try:
            self._request.infer([np.ascontiguousarray(images, np.float32)], share_inputs=True)
        except Exception as error:  # its exceptions share no base but RuntimeError, and come as others too
            raise TargetError(
                f"{self._name}: running images of shape {images.shape} failed, the model takes {self._shape}: "
                f"{_reason(error)}"
            ) from error

    def _output(self, place: int) -> "NDArray[np.float32]":
        # A copy: the request writes the next answer into the same memory.
        return np.array(self._request.get_output_tensor(place).data, np.float32)


def open_session(
    graph: Path, weights: Path | None, options: Mapping[str, str], threads: int, *, profiling: bool = False
) -> Session:
    """Open a model on the CPU.

    Args:
        graph: an .xml file, or an .onnx file.
        weights: the .bin of an .xml; None lets the runtime find what lies beside it.
        options: properties that overrule SETTINGS.
        threads: that one inference may use, at least 1.
        profiling: time every operator; see `Session.operators`.
    Raises: TargetError when it is no model, lacks weights, or needs what this runtime has not.
    """
    if threads < 1:
        raise TargetError(f"`threads` must be at least 1, got {threads}")
    properties: dict[str, Any] = {**SETTINGS, **options, "INFERENCE_NUM_THREADS": threads, "PERF_COUNT": profiling}
    if graph.suffix == ".xml" and graph.is_file() and not _starts_as_xml(graph):
        # Asked for what is no XML, OpenVINO tries its readers of other formats, which print what they think of it.
        raise TargetError(f"{graph}: OpenVINO cannot open it: expected XML, got something else")
    try:
        core = openvino.Core()
        inside = graph.suffix != ".xml" or weights is None
        network = core.read_model(graph) if inside else core.read_model(graph, weights)
        compiled = core.compile_model(network, "CPU", properties)
    except Exception as error:  # its exceptions share no base but RuntimeError, and come as others too
        raise TargetError(f"{graph}: OpenVINO cannot open it: {_reason(error)}") from error
    return Session(compiled, str(graph))


def _starts_as_xml(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"<")


def _output_name(output: openvino.ConstOutput, place: int) -> str:
    """A tensor keeps the names of all operators that were fused into the one that gives it."""
    names = output.get_names()
    return next((name for name in ("logits", "embedding") if name in names), min(names, default=str(place)))


def _reason(error: Exception) -> str:
    """The sentence in OpenVINO's message, which starts with the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (told or lines or [type(error).__name__])[0][:300]
