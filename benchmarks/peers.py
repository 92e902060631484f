"""The peers' int8 files of one model, made with the same calibration images."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class _Reader(CalibrationDataReader):
    """One preprocessed image at a time, as ONNX Runtime's quantizer asks for them."""

    def __init__(self, images: list[NDArray[np.float32]], name: str) -> None:
        self._rest: Iterator[dict[str, NDArray[np.float32]]] = ({name: image} for image in images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._rest, None)


Maker = Callable[[Path, Path, list[NDArray[np.float32]]], None]


def _prepared(fp32: Path, folder: Path) -> Path:
    """ONNX Runtime's own preparation, as its manual asks."""
    prepared = folder / "prepared.onnx"
    if not prepared.exists():
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    return prepared


def _input(path: Path) -> str:
    return onnx.load(path, load_external_data=False).graph.input[0].name


def ort_defaults(fp32: Path, out: Path, images: list[NDArray[np.float32]]) -> None:
    prepared = _prepared(fp32, out.parent)
    quantize_static(str(prepared), str(out), _Reader(images, _input(prepared)))


def ort_reduced(fp32: Path, out: Path, images: list[NDArray[np.float32]]) -> None:
    prepared = _prepared(fp32, out.parent)
    quantize_static(
        str(prepared),
        str(out),
        _Reader(images, _input(prepared)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def ort_unsigned(fp32: Path, out: Path, images: list[NDArray[np.float32]]) -> None:
    prepared = _prepared(fp32, out.parent)
    quantize_static(
        str(prepared),
        str(out),
        _Reader(images, _input(prepared)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
        extra_options={"WeightSymmetric": True},
    )


def nncf_mixed(fp32: Path, out: Path, images: list[NDArray[np.float32]]) -> None:
    import nncf

    model = onnx.load(fp32)
    name = model.graph.input[0].name
    data = nncf.Dataset(images, lambda image: {name: image})
    preset = nncf.QuantizationPreset.MIXED
    onnx.save(nncf.quantize(model, data, preset=preset, subset_size=len(images)), out)


PEERS: dict[str, Maker] = {
    "ONNX Runtime, defaults": ort_defaults,
    "ONNX Runtime, per channel, u8 x s8, reduce_range": ort_reduced,
    "ONNX Runtime, per channel, u8 x u8, WeightSymmetric": ort_unsigned,
    "NNCF, MIXED preset": nncf_mixed,
}
