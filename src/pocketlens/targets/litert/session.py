"""Open and run a .tflite file in LiteRT, on the CPU. Free of torch: this half ships to the device."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from pocketlens.errors import TargetError
from pocketlens.targets.quiet import quiet_streams

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Session:
    """An open model: one input of images, the first output is the answer.

    A file takes one image at a time, height and width before channels; a batch is run image by image. Where the file
    takes and gives integers, their scale and zero point are in it, and floats are rounded onto them here.

    Args:
        interpreter: LiteRT's, its tensors allocated.
        name: for errors.
    Raises: TargetError when the model does not take one tensor (1, height, width, channels).
    """

    def __init__(self, interpreter: Interpreter, name: str) -> None:
        inputs = interpreter.get_input_details()
        shapes = [i["shape"].tolist() for i in inputs]
        if len(inputs) != 1 or len(shapes[0]) != 4 or shapes[0][0] != 1:
            raise TargetError(f"{name}: expected one input (1, height, width, channels), got {shapes}; export it so")
        self._interpreter = interpreter
        self._name = name
        self._input = inputs[0]
        self._shape = tuple(shapes[0])
        self._outputs = interpreter.get_output_details()

    @property
    def input_grid(self) -> tuple[float, int] | None:
        """(scale, zero point) of the integers it takes, None where it takes floats."""
        return _grid(self._input)

    @property
    def output_grid(self) -> tuple[float, int] | None:
        """(scale, zero point) of the integers that the first output gives, None where it gives floats."""
        return _grid(self._outputs[0])

    def run(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Compute the first output.

        Args:
            images: (n, channels, height, width), float32, preprocessed.
        Returns: (n, ...), float32.
        Raises: TargetError when the shape does not fit or the runtime fails.
        """
        return np.stack([self._one(image, self._outputs[:1])[0] for image in self._checked(images)])

    def run_all(self, images: "NDArray[np.float32]") -> "dict[str, NDArray[np.float32]]":
        """Compute every output.

        Args:
            images: as for `run`.
        Returns: by name, "logits" and, where the network ends in a linear layer, "embedding"; each (n, ...), float32.
        Raises: TargetError as `run` does.
        """
        rows = [self._one(image, self._outputs) for image in self._checked(images)]
        return {output["name"]: np.stack([row[i] for row in rows]) for i, output in enumerate(self._outputs)}

    def _checked(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """The images with their channels last."""
        last = np.moveaxis(images, 1, -1) if images.ndim == 4 else images
        if last.shape[1:] != self._shape[1:]:
            _, height, width, channels = self._shape
            raise TargetError(
                f"{self._name}: running images of shape {images.shape} failed, "
                f"the model takes (n, {channels}, {height}, {width})"
            )
        return np.ascontiguousarray(last, np.float32)

    def _one(self, image: "NDArray[np.float32]", outputs: list[dict[str, Any]]) -> "list[NDArray[np.float32]]":
        try:
            self._interpreter.set_tensor(self._input["index"], _onto_grid(image[np.newaxis], self._input))
            self._interpreter.invoke()
            return [_off_grid(self._interpreter.get_tensor(o["index"]), o)[0] for o in outputs]
        except (ValueError, RuntimeError) as error:
            raise TargetError(f"{self._name}: LiteRT cannot run it: {_first_line(error)}") from error


def open_session(graph: Path | bytes, weights: Path | None, options: Mapping[str, str], threads: int) -> Session:
    """Open a model on the CPU, with XNNPACK's kernels.

    Args:
        graph: a .tflite file or its content, which holds its weights.
        weights: None.
        options: LiteRT has none; {}.
        threads: that one inference may use, at least 1.
    Raises: TargetError when it is no model, or needs what this runtime has not.
    """
    if threads < 1:
        raise TargetError(f"`threads` must be at least 1, got {threads}")
    name = "the model" if isinstance(graph, bytes) else str(graph)
    try:
        return Session(_interpreter(graph if isinstance(graph, bytes) else graph.read_bytes(), threads), name)
    except (OSError, ValueError, RuntimeError) as error:
        raise TargetError(f"{name}: LiteRT cannot open it: {_first_line(error)}") from error


def time_alone(content: bytes, threads: int, runs: int = 20) -> float:
    """Milliseconds of one inference, the mean of several, whatever the model takes.

    Args:
        content: of a .tflite file; its inputs stay as they are, zeros.
        threads: that it may use.
        runs: after one that warms up.
    """
    interpreter = _interpreter(content, threads)
    interpreter.invoke()
    start = time.perf_counter()
    for _ in range(runs):
        interpreter.invoke()
    return (time.perf_counter() - start) * 1e3 / runs


def _interpreter(content: bytes, threads: int) -> Interpreter:
    with quiet_streams():  # it tells of every delegate that it makes
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    return interpreter


def _grid(tensor: dict[str, Any]) -> tuple[float, int] | None:
    if tensor["dtype"] is np.float32:
        return None
    scale, zero_point = tensor["quantization"]
    return float(scale), int(zero_point)


def _onto_grid(values: "NDArray[np.float32]", tensor: dict[str, Any]) -> "NDArray[Any]":
    grid = _grid(tensor)
    if grid is None:
        return values
    limits = np.iinfo(tensor["dtype"])
    codes = np.rint(values / np.float32(grid[0])) + grid[1]
    return np.clip(codes, limits.min, limits.max).astype(tensor["dtype"])


def _off_grid(values: "NDArray[Any]", tensor: dict[str, Any]) -> "NDArray[np.float32]":
    grid = _grid(tensor)
    if grid is None:
        return values
    return (values.astype(np.float32) - np.float32(grid[1])) * np.float32(grid[0])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
