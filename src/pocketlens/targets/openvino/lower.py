"""Lower a canonical graph to OpenVINO's IR: by way of ONNX, whose quantizers its low-precision passes know."""

import tempfile
from dataclasses import replace
from pathlib import Path

import openvino

# What `openvino.convert_model` runs too; called here because that function reports usage to its maker.
from openvino._offline_transformations import apply_moc_transformations

from pocketlens.errors import TargetError
from pocketlens.targets.onnxruntime.lower import lower as lower_to_onnx
from pocketlens.types import Artifact, Model


def lower(model: Model, name: str, folder: Path) -> Artifact:
    """Write `model` as FOLDER/NAME.xml and FOLDER/NAME.bin, in which integer weights stay integers.

    Args:
        model: a canonical graph.
        name: of the graph.
        folder: exists.
    Raises: TargetError naming the layer that cannot be lowered.
    """
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        onnx = lower_to_onnx(model, name, Path(scratch))
        network = _read(onnx)
        # Without folding constants: that would put float weights into the file.
        apply_moc_transformations(network, cf=False, smart_reshape=False)
        graph = folder / f"{onnx.graph.stem}.xml"
        openvino.save_model(network, graph, compress_to_fp16=False)
        del network  # it maps the scratch file
    return replace(onnx, target="openvino", graph=graph, weights=graph.with_suffix(".bin"), session={})


def _read(onnx: Artifact) -> openvino.Model:
    try:
        return openvino.Core().read_model(onnx.graph)
    except RuntimeError as error:  # it says which operator of which node, over several lines
        cause = " ".join(str(error).split())[-240:]
        raise TargetError(
            f"OpenVINO cannot take {onnx.spec.name} ({cause}); put other operations there, or use the target "
            "onnxruntime, which runs the same ONNX"
        ) from error
