"""What this machine reaches at best, in the runtime itself: the ceilings of the roofline."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from pocketlens.targets.peak import best_time, copy_bandwidth

_SIDE = 512


def measured_peak(last_cache_bytes: int) -> dict[str, float]:
    """Peaks of one thread: {"fp32_gmacs", "int8_gmacs"} of a small matrix product, {"bandwidth_gbs"} of a copy.

    Args:
        last_cache_bytes: of the largest cache; the copy is several times larger, 512 MiB at most.
    """
    return {
        "fp32_gmacs": _product("MatMul", np.float32),
        "int8_gmacs": _product("MatMulInteger", np.int8),
        "bandwidth_gbs": copy_bandwidth(last_cache_bytes),
    }


def _product(operator: str, weight: type[np.generic]) -> float:
    """Giga multiply-accumulates a second of a (512, 512) x (512, 512) product, the best of several."""
    rng = np.random.default_rng(0)
    integer = operator == "MatMulInteger"
    kind = np.uint8 if integer else np.float32
    x = rng.integers(0, 100, (_SIDE, _SIDE)).astype(kind)
    w = rng.integers(0, 100, (_SIDE, _SIDE)).astype(weight)
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])],
        "peak",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [_SIDE, _SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.INT32 if integer else TensorProto.FLOAT, [_SIDE, _SIDE])],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return _SIDE**3 / best_time(lambda: session.run(None, {"x": x}), seconds=0.3) / 1e9
