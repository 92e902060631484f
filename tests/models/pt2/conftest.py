"""A small exported program, and ways to change what its archive says."""

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import TinyNet, randomised

Changed = Callable[[Callable[[dict[str, bytes]], None]], Path]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TinyNet with an open batch."""
    path = tmp_path_factory.mktemp("program") / "tiny.pt2"
    torch.manual_seed(0)
    module = randomised(TinyNet())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(
            module, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        torch.export.save(exported, path)
    return path


@pytest.fixture
def changed(program: Path, tmp_path: Path) -> Changed:
    """Write the program again, its members changed."""

    def change(harm: Callable[[dict[str, bytes]], None]) -> Path:
        with zipfile.ZipFile(program) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        harm(members)
        path = tmp_path / "changed.pt2"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    return change


def edit(members: dict[str, bytes], suffix: str, change: Callable[[Any], None]) -> None:
    """Change one JSON member in place."""
    name = next(name for name in members if name.endswith(suffix))
    data = json.loads(members[name])
    change(data)
    members[name] = json.dumps(data).encode()
