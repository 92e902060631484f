import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import TinyNet, randomised
from tests.models.pt2.conftest import Changed, edit

from pocketlens.errors import ModelError, UnsupportedModelError
from pocketlens.models.pt2.archive import open_program
from pocketlens.models.pt2.importing import import_program


def test_weights_come_as_they_are(program: Path) -> None:
    found = open_program(program)
    torch.manual_seed(0)
    state = randomised(TinyNet()).state_dict()
    for name, array in found.weights.items():
        assert torch.equal(torch.from_numpy(array), state[found.paths[name]])
    assert found.shape == (None, 3, 32, 32)


class _Evil:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_nothing_in_the_file_is_unpickled_or_evaluated(changed: Changed, tmp_path: Path) -> None:
    """torch.export.load would unpickle the example inputs and evaluate the sizes."""

    def harm(members: dict[str, bytes]) -> None:
        name = next(name for name in members if "sample_inputs" in name)
        members[name] = pickle.dumps(_Evil(f"touch {tmp_path}/ran"), protocol=2)

        def sizes(data: Any) -> None:
            for meta in data["graph_module"]["graph"]["tensor_values"].values():
                for side in meta["sizes"]:
                    if "as_expr" in side:
                        side["as_expr"]["expr_str"] = f"__import__('os').system('touch {tmp_path}/ran')"

        edit(members, "models/model.json", sizes)

    assert import_program(changed(harm))[1] == (3, 32, 32)
    assert not (tmp_path / "ran").exists()


def _weights(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def harm(members: dict[str, bytes]) -> None:
        edit(members, "model_weights_config.json", lambda data: change(next(iter(data["config"].values()))))

    return harm


def _model(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    return lambda members: edit(members, "models/model.json", change)


def _second_output(data: Any) -> None:
    data["graph_module"]["signature"]["output_specs"].append({"token": {}})


def _target(target: str) -> Callable[[dict[str, bytes]], None]:
    return _model(lambda data: data["graph_module"]["graph"]["nodes"][0].update(target=target))


@pytest.mark.parametrize(
    ("harm", "error", "word"),
    [
        (_weights(lambda w: w.update(use_pickle=True)), UnsupportedModelError, "as a pickle"),
        (_weights(lambda w: w["tensor_meta"].update(dtype=6)), UnsupportedModelError, r"model\.float"),
        (_weights(lambda w: w.update(path_name="../../etc/passwd")), ModelError, "outside its folder"),
        (_weights(lambda w: w.update(path_name="nowhere")), ModelError, "nowhere"),
        (_weights(lambda w: w["tensor_meta"]["sizes"][0].update(as_int=10**12)), ModelError, "claims"),
        (_weights(lambda w: w["tensor_meta"]["strides"][0].update(as_int=-27)), ModelError, "claims"),
        (_weights(lambda w: w["tensor_meta"]["storage_offset"].update(as_int=10**6)), ModelError, "claims"),
        (_model(lambda d: d["schema_version"].update(major=7)), ModelError, "schema 7"),
        (_model(lambda d: d["graph_module"]["graph"].pop("nodes")), ModelError, "nodes"),
        (_model(_second_output), ModelError, "one output"),
        (_target("torch.ops.aten.fft_fft.default"), UnsupportedModelError, r"aten\.fft_fft.*no such operator"),
        (_target("torch.ops.aten.__class__.default"), UnsupportedModelError, "no such operator"),
        (_target("os.system"), UnsupportedModelError, "no such operator"),
        (_target("torch.ops.aten.relu.nothing"), UnsupportedModelError, "no such operator"),
        (lambda members: members.clear(), ModelError, "one program"),
    ],
)  # fmt: skip
def test_a_hostile_archive_is_refused(
    harm: Callable[[dict[str, bytes]], None], error: type[Exception], word: str, changed: Changed
) -> None:
    start = time.perf_counter()
    with pytest.raises(error, match=word) as raised:
        import_program(changed(harm))
    assert "\n" not in str(raised.value)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not an archive", b"{}"])
def test_what_is_no_archive_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(content)
    with pytest.raises(ModelError, match=r"no \.pt2 archive"):
        open_program(tmp_path / "m.pt2")


def test_a_cut_archive_is_refused(program: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(program.read_bytes()[:-100])
    with pytest.raises(ModelError):
        open_program(tmp_path / "m.pt2")


def test_nan_weights_are_named(changed: Changed) -> None:
    def harm(members: dict[str, bytes]) -> None:
        name = next(name for name in members if name.endswith("weights/weight_0"))
        members[name] = b"\xff" * len(members[name])

    with pytest.raises(ModelError, match=r"stem\.0\.weight' holds NaN"):
        open_program(changed(harm))
