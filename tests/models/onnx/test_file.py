import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.models.onnx.conftest import Written, random, whole
from tests.models.onnx.test_operators import node

from pocketlens.errors import ConfigError, ModelError, UnsupportedModelError
from pocketlens.models.onnx.file import open_onnx
from pocketlens.models.onnx.importing import import_onnx

RELU = [node("Relu", "x")]


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a model", b"\xff" * 200, b"PK\x03\x04"])
def test_what_is_no_model_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx") as raised:
        open_onnx(path)
    assert "\n" not in str(raised.value)


def test_a_part_of_a_file_is_refused(written: Written) -> None:
    path = written([node("Conv", "x", "w")], weights={"w": random(8, 3, 3, 3)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError):
        open_onnx(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot read"):
            open_onnx(path)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"opset": 8}, "opsets 9 to"),
        ({"opset": 99}, "got 99"),
        ({"shape": (4, 3, 8, 8)}, "4 images at a time"),
        ({"shape": ("n", 8, 8, 3)}, "channels-last"),
        ({"shape": ("n", 192)}, "2 dimensions"),
        ({"dtype": TensorProto.FLOAT16}, "FLOAT16"),
        ({"outputs": ("y", "x")}, "one output.*y, x"),
    ],
)
def test_what_no_image_classifier_is_is_refused(options: dict, word: str, written: Written) -> None:
    with pytest.raises(UnsupportedModelError, match=word):
        open_onnx(written(RELU, **options))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, 8, 8]) for n in ("a", "b")]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 8, 8])
    graph = helper.make_graph([node("Add", "a", "b")], "g", inputs, [output])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedModelError, match=r"one input.*a, b.*extract_model"):
        open_onnx(tmp_path / "m.onnx")


def test_a_cycle_is_refused(written: Written) -> None:
    path = written([node("Add", "x", "b", outputs=("a",)), node("Relu", "a", outputs=("b",)), node("Neg", "b")])
    with pytest.raises(ModelError, match=r"no valid ONNX.*topologically sorted"):
        open_onnx(path)


def test_an_operator_of_another_domain_is_named(written: Written) -> None:
    path = written([node("FusedConv", "x", domain="com.microsoft")], domains=("com.microsoft",))
    with pytest.raises(UnsupportedModelError, match=r"FusedConv \(the_FusedConv\).*com\.microsoft"):
        open_onnx(path)


def test_nan_weights_and_other_types_are_named(written: Written) -> None:
    broken = random(4, 3, 1, 1)
    broken[2] = np.nan
    with pytest.raises(ModelError, match=r"'w' holds NaN"):
        open_onnx(written([node("Conv", "x", "w")], weights={"w": broken}))
    half = [node("Cast", "h", outputs=("w",), to=1), node("Conv", "x", "w")]
    with pytest.raises(UnsupportedModelError, match=r"'h' is float16"):
        open_onnx(written(half, weights={"h": random(4, 3, 1, 1).astype(np.float16)}))


def _external(path: Path, location: str, offset: str = "0", length: str = "48") -> None:
    """Say that the first weight lies in another file."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())


def test_weights_beside_the_model_are_read(written: Written) -> None:
    weight = random(4, 3, 1, 1)
    path = written([node("Conv", "x", "w")], weights={"w": weight})
    _external(path, "w.bin", offset="8")
    (path.parent / "w.bin").write_bytes(b"12345678" + weight.tobytes())
    assert np.array_equal(numpy_helper.to_array(open_onnx(path).proto.graph.initializer[0]), weight)


@pytest.mark.parametrize(
    ("location", "offset", "length", "word"),
    [
        ("../w.bin", "0", "48", "outside the model's folder"),
        ("/etc/passwd", "0", "48", "outside the model's folder"),
        ("link.bin", "0", "48", "outside the model's folder"),
        ("none.bin", "0", "48", "missing beside it"),
        ("w.bin", "0", "480000", "beyond the end"),
        ("w.bin", "-8", "48", "beyond the end"),
        ("w.bin", "zero", "48", "sound offset"),
        ("w.bin", "0", "40", "too small"),
    ],
)
def test_weights_elsewhere_are_refused(location: str, offset: str, length: str, word: str, written: Written) -> None:
    path = written([node("Conv", "x", "w")], weights={"w": random(4, 3, 1, 1)})
    (path.parent / "w.bin").write_bytes(bytes(48))
    (path.parent / "link.bin").symlink_to("/etc/hostname")
    _external(path, location, offset, length)
    with pytest.raises(ModelError, match=word):
        open_onnx(path)


def test_a_weight_that_claims_more_than_it_holds_takes_no_memory(written: Written) -> None:
    path = written([node("Conv", "x", "w")], weights={"w": random(4, 3, 1, 1)})
    model = onnx.load(path)
    model.graph.initializer[0].dims[0] = 2**40
    path.write_bytes(model.SerializeToString())
    start = time.perf_counter()
    with pytest.raises(ModelError):
        open_onnx(path)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("ConstantOfShape", "s", outputs=("c",)), node("Add", "x", "c")], {"s": whole(2**20, 2**20)}),
        ([node("Expand", "o", "s", outputs=("c",)), node("Add", "x", "c")], {"o": random(1), "s": whole(2**40)}),
        ([node("Tile", "o", "s", outputs=("c",)), node("Add", "x", "c")], {"o": random(1), "s": whole(2**40)}),
        ([node("Range", "a", "b", "o", outputs=("c",)), node("Add", "x", "c")],
         {"a": np.float32(0), "b": np.float32(1e12), "o": np.float32(1)}),
        ([node("Add", "c", "r", outputs=("o",)), node("Add", "x", "o")],
         {"c": random(2**15, 1), "r": random(1, 2**15)}),
        ([node("Resize", "x", "", "", "s", axes=[2, 3])], {"s": whole(2**20, 2**20)}),
    ],
    ids=["constant of shape", "expand", "tile", "range", "broadcast", "resize"],
)  # fmt: skip
def test_a_small_file_gets_no_large_memory(nodes: list, weights: dict, written: Written) -> None:
    start = time.perf_counter()
    with pytest.raises(ModelError):
        import_onnx(written(nodes, weights={k: np.asarray(v) for k, v in weights.items()}))
    assert time.perf_counter() - start < 10


def test_shapes_that_do_not_fit_are_told(written: Written) -> None:
    with pytest.raises(ModelError, match=r"the_Conv\) does not fit"):
        import_onnx(written([node("Conv", "x", "w")], weights={"w": random(4, 5, 1, 1)}))


def test_an_open_size_must_be_given_and_a_fixed_one_obeyed(written: Written) -> None:
    path = written(RELU, shape=("n", 3, "h", "w"))
    with pytest.raises(ConfigError, match="imagenet:224"):
        import_onnx(path)
    assert import_onnx(path, (6, 7))[1] == (3, 6, 7)
    with pytest.raises(ConfigError, match="8 x 8"):
        import_onnx(written(RELU), (6, 7))


def test_functions_of_the_file_are_inlined(written: Written) -> None:
    path = written([node("Twice", "x", domain="mine")], domains=("mine",))
    model = onnx.load(path)
    body = [node("Add", "a", "a", outputs=("b",))]
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    path.write_bytes(model.SerializeToString())
    assert import_onnx(path)[1] == (3, 8, 8)
