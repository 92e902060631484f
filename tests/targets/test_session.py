import json
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import TargetError
from pocketlens.targets.onnxruntime.session import WEIGHTS_NAME, open_session

onnx = pytest.importorskip("onnx", reason="builds its models with onnx, which is in pocketlens[optimize]")

IMAGES = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)

MATRIX = np.arange(120, dtype=np.float32).reshape(12, 10)
"""Flattened pixels to ten outputs."""

BLOB = MATRIX.tobytes()


def graph(
    *,
    location: str | None = WEIGHTS_NAME,
    batch: str | int = "n",
    kind: int = onnx.TensorProto.FLOAT,
    shape: tuple[int, ...] = (3, 2, 2),
    inputs: int = 1,
) -> bytes:
    """y = flatten(x) @ MATRIX, with the matrix inside (`location` None) or in an external file."""
    if location is None:
        weights = onnx.numpy_helper.from_array(MATRIX.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)), "w")
    else:
        weights = onnx.TensorProto(name="w", data_type=kind, dims=MATRIX.shape, data_location=onnx.TensorProto.EXTERNAL)
        for key, value in (("location", location), ("offset", "0"), ("length", str(len(BLOB)))):
            weights.external_data.add(key=key, value=value)
    value_info = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [onnx.helper.make_node("Flatten", ["x0"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["y"])],
        "linear",
        [value_info(f"x{i}", kind, [batch, *shape]) for i in range(inputs)],
        [value_info("y", kind, [batch, 10])],
        [weights],
    )
    opset = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString()


def expected(images: np.ndarray = IMAGES) -> np.ndarray:
    return images.reshape(len(images), -1) @ MATRIX


def test_weights_in_memory_and_any_batch() -> None:
    session = open_session(graph(), BLOB, {}, 1)
    for n in (1, 2):
        y = session.run(IMAGES[:n])
        assert y.dtype == np.float32
        assert np.array_equal(y, expected(IMAGES[:n]))


def test_every_output_by_its_name() -> None:
    model = onnx.load_from_string(graph(location=None))
    model.graph.output.append(onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["n", 12]))
    session = open_session(model.SerializeToString(), None, {}, 1)
    outputs = session.run_all(IMAGES)
    assert list(outputs) == ["y", "f"]
    assert np.array_equal(outputs["y"], expected())
    assert np.array_equal(outputs["f"], IMAGES.reshape(2, 12))
    assert np.array_equal(session.run(IMAGES), expected())
    with pytest.raises(TargetError, match=r"images of shape \(3, 2, 2\) failed"):
        session.run_all(IMAGES[0])


@pytest.mark.parametrize("name", [WEIGHTS_NAME, "another.bin"])
def test_files_give_what_memory_gives(tmp_path: Path, name: str) -> None:
    (tmp_path / "g.onnx").write_bytes(graph())
    (tmp_path / name).write_bytes(BLOB)
    session = open_session(tmp_path / "g.onnx", tmp_path / name, {}, 1, spinning=False)
    assert np.array_equal(session.run(IMAGES), expected())


def test_the_blob_may_go_once_the_session_is_open() -> None:
    blob = bytearray(BLOB)
    session = open_session(graph(), blob, {}, 1)
    blob[:] = bytes(len(blob))
    assert np.array_equal(session.run(IMAGES), expected())


def test_weights_inside() -> None:
    assert np.array_equal(open_session(graph(location=None), None, {}, 1).run(IMAGES), expected())


def test_half_precision_is_fed_and_read_as_float32() -> None:
    session = open_session(graph(location=None, kind=onnx.TensorProto.FLOAT16), None, {}, 1)
    y = session.run(IMAGES / 16)
    assert y.dtype == np.float32
    assert np.allclose(y, expected(IMAGES / 16), rtol=2e-3)


def test_input_that_is_not_contiguous_or_not_float32() -> None:
    session = open_session(graph(location=None), None, {}, 1)
    channels_last = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(session.run(channels_last), expected())
    assert np.array_equal(session.run(IMAGES.astype(np.float64)), expected())


def weight_only_graph() -> bytes:
    """y = relu(x * dequantize(w)), quantized again: what `session.disable_quant_qdq` decides about."""
    node = onnx.helper.make_node
    value_info = onnx.helper.make_tensor_value_info
    array = onnx.numpy_helper.from_array
    body = onnx.helper.make_graph(
        [
            node("DequantizeLinear", ["w", "scale", "zero"], ["wf"], axis=0),
            node("Conv", ["x", "wf"], ["y"]),
        ],
        "weight_only",
        [value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 2, 2])],
        [value_info("y", onnx.TensorProto.FLOAT, None)],
        [
            array(np.array([[2, 0, 1]], np.int8).reshape(1, 3, 1, 1), "w"),
            array(np.array([0.5], np.float32), "scale"),
            array(np.array([0], np.int8), "zero"),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(body, opset_imports=opset, ir_version=10).SerializeToString()


def test_options_reach_the_runtime(tmp_path: Path) -> None:
    operators = {}
    for value in ("0", "1"):
        prefix = str(tmp_path / f"profile{value}")
        session = open_session(
            weight_only_graph(), None, {"session.disable_quant_qdq": value}, 1, profile_prefix=prefix
        )
        # 2 * 0.5 of red and 1 * 0.5 of blue.
        assert np.array_equal(session.run(IMAGES)[:, 0], IMAGES[:, 0] + 0.5 * IMAGES[:, 2])
        profile = session.end_profiling()
        assert profile.parent == tmp_path
        events = json.loads(profile.read_text("utf-8"))
        operators[value] = {e["args"]["op_name"] for e in events if "op_name" in e.get("args", {})}
    assert "DequantizeLinear" in operators["0"]
    assert "DequantizeLinear" not in operators["1"]


def test_a_file_for_one_image_runs_several_one_by_one() -> None:
    one = open_session(graph(location=None, batch=1), None, {}, 1)
    several = open_session(graph(location=None), None, {}, 1)
    np.testing.assert_array_equal(one.run(IMAGES), several.run(IMAGES))
    assert one.run_all(IMAGES)["y"].shape == (2, 10)


# --- what is refused


def test_a_wrong_shape_says_what_came_and_what_is_taken() -> None:
    session = open_session(graph(location=None, batch=1), None, {}, 1)
    with pytest.raises(TargetError, match=r"shape \(1, 3, 2, 1\) failed, the model takes \[1, 3, 2, 2\]") as caught:
        session.run(IMAGES[..., :1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blob", [None, b"", BLOB[:-1]], ids=["none", "empty", "short"])
def test_missing_weights_are_refused(blob: bytes | None) -> None:
    with pytest.raises(TargetError, match="the graph: ONNX Runtime cannot open it") as caught:
        open_session(graph(), blob, {}, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blob", [None, BLOB], ids=["none", "some"])
@pytest.mark.parametrize("location", ["secret.bin", "../secret.bin", "ABSOLUTE"])
def test_a_graph_in_memory_never_reads_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, blob: bytes | None
) -> None:
    (tmp_path / "here").mkdir()
    for place in (tmp_path, tmp_path / "here"):
        (place / "secret.bin").write_bytes(BLOB)
    monkeypatch.chdir(tmp_path / "here")
    name = location.replace("ABSOLUTE", str(tmp_path / "secret.bin"))
    with pytest.raises(TargetError, match="cannot open it"):
        open_session(graph(location=name), blob, {}, 1)


@pytest.mark.parametrize("content", [b"", b"no model", graph(location=None)[:-40]], ids=["empty", "junk", "cut"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TargetError, match="the graph: ONNX Runtime cannot open it"):
        open_session(content, None, {}, 1)
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(TargetError, match=r"bad\.onnx: ONNX Runtime cannot open it"):
        open_session(tmp_path / "bad.onnx", None, {}, 1)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"gone\.onnx: ONNX Runtime cannot open it"):
        open_session(tmp_path / "gone.onnx", None, {}, 1)
    (tmp_path / "g.onnx").write_bytes(graph())
    with pytest.raises(TargetError, match=r"g\.onnx: ONNX Runtime cannot open it: .*other\.bin"):
        open_session(tmp_path / "g.onnx", tmp_path / "other.bin", {}, 1)


@pytest.mark.parametrize(
    "model",
    [
        graph(location=None, inputs=2),
        graph(location=None, shape=(12,)),
        graph(location=None, kind=onnx.TensorProto.DOUBLE),
    ],
    ids=["two inputs", "rank 2", "double"],
)
def test_models_of_something_else_are_refused(model: bytes) -> None:
    with pytest.raises(TargetError, match="expected one float input"):
        open_session(model, None, {}, 1)


def test_threads_must_be_positive() -> None:
    with pytest.raises(TargetError, match="`threads` must be at least 1, got 0"):
        open_session(graph(location=None), None, {}, 0)


def test_the_runtime_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    open_session(graph(), BLOB, {}, 1).run(IMAGES)
    with pytest.raises(TargetError):
        open_session(b"no model", None, {}, 1)
    assert capfd.readouterr() == ("", "")
