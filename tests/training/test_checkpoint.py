import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from pocketlens.errors import OutputError
from pocketlens.training.checkpoint import Checkpoint, CheckpointFolder, optimizer_tensors, restore_optimizer


def at(epoch: int, step: int = 0) -> Checkpoint:
    tensors = {"model/weight": torch.full((3, 2), float(epoch)), "optimizer/0.step": torch.tensor(7.0)}
    return Checkpoint(tensors=tensors, state={"epoch": epoch, "step": step})


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 0xFF
    path.write_bytes(content)


def test_the_newest_comes_back(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "run")
    for epoch in (1, 2, 3):
        folder.save(at(epoch))
    found, notes = folder.load()
    assert found is not None
    assert found.state == {"epoch": 3, "step": 0}
    assert torch.equal(found.part("model")["weight"], torch.full((3, 2), 3.0))
    assert set(found.part("optimizer")) == {"0.step"}
    assert notes == ()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    folder.save(at(2))
    spoil(tmp_path / "last.safetensors")
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == 1
    assert "corrupt" in notes[0]
    assert "the one before it is used" in notes[0]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\xff" * 64])
def test_both_damaged_start_anew(tmp_path: Path, content: bytes) -> None:
    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    folder.save(at(2))
    for path in tmp_path.iterdir():
        path.write_bytes(content)
    found, notes = folder.load()
    assert found is None
    assert all("training starts anew" in note for note in notes)


def test_another_run_is_not_read(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, "run").save(at(1))
    assert CheckpointFolder(tmp_path, "other").load() == (None, ())


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write a checkpoint"):
        CheckpointFolder(tmp_path / "file", "run").save(at(1))


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    """The one moment in which no file bears the name `last`."""
    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    folder.save(at(2))
    (tmp_path / "last.safetensors").rename(tmp_path / "last.swap")
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == 2
    assert notes == ()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_an_optimizer_goes_on_where_it_was(kind: type[torch.optim.Optimizer]) -> None:
    def start() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        weight = torch.nn.Parameter(torch.ones(3))
        extra = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return weight, kind([weight], lr=0.1, **extra)  # pyright: ignore

    def step(weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, k: int) -> None:
        weight.grad = torch.arange(3.0) + k
        optimizer.step()

    whole, own = start()
    for k in range(4):
        step(whole, own, k)
    first, one = start()
    for k in range(2):
        step(first, one, k)
    second, other = start()
    with torch.no_grad():
        second.copy_(first)
    restore_optimizer(other, optimizer_tensors(one))
    for k in range(2, 4):
        step(second, other, k)
    assert torch.equal(second, whole)


@pytest.mark.parametrize("place", ["digest", "state", "tensor"])
def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path, place: str) -> None:
    """The state too: an epoch that reads 9 for 2 would be believed."""
    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    folder.save(at(2))
    path = tmp_path / "last.safetensors"
    content = bytearray(path.read_bytes())
    where = {"digest": content.index(b'"digest"') + 11, "state": content.index(b'epoch\\": 2') + 9, "tensor": -1}[place]
    content[where] ^= 0x01
    path.write_bytes(content)
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == 1
    assert len(notes) == 1
    assert "last.safetensors is corrupt" in notes[0]


def test_what_a_kill_left_half_written_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    (tmp_path / ".before.safetensors.0a1b2c3d.part").write_bytes(b"half")
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == 1
    assert notes == ()


@pytest.mark.parametrize("survived", range(4))
def test_a_kill_at_any_rename_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    class Killed(BaseException):
        pass

    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    folder.save(at(2))
    left, real = [survived], Path.replace

    def replace(self: Path, target: Path) -> Path:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            folder.save(at(3))
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == (2 if survived == 0 else 3)
    assert notes == ()
    folder.save(at(4))
    found, _ = folder.load()
    assert found is not None
    assert found.state["epoch"] == 4


def test_a_disk_that_is_full_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pocketlens.training.checkpoint as module

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        raise OSError(errno.ENOSPC, "No space left on device")
        yield path

    folder = CheckpointFolder(tmp_path, "run")
    folder.save(at(1))
    with monkeypatch.context() as patch:
        patch.setattr(module, "whole_file", full)
        with pytest.raises(OutputError, match="No space left on device; free some space"):
            folder.save(at(2))
    found, notes = folder.load()
    assert found is not None
    assert found.state["epoch"] == 1
    assert notes == ()


def test_a_run_that_is_over_is_forgotten(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", "run")
    assert folder.load() == (None, ())
    folder.save(at(1))
    folder.remove()
    assert not (tmp_path / "checkpoints").exists()
    folder.remove()


def test_a_parameter_that_two_layers_share_is_kept_under_both_names(tmp_path: Path) -> None:
    shared = torch.randn(4)
    CheckpointFolder(tmp_path, "run").save(Checkpoint({"model/a": shared, "model/b": shared}, {"epoch": 1, "step": 0}))
    found, _ = CheckpointFolder(tmp_path, "run").load()
    assert found is not None
    assert all(torch.equal(found.part("model")[name], shared) for name in "ab")
