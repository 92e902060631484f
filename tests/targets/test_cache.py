import json
from pathlib import Path

import pytest

from pocketlens.targets.cache import cache_folder, remembered
from pocketlens.types import Json


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counted:
    """Answers how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Json:
        self.calls += 1
        return {"answer": self.calls}


def test_an_answer_is_remembered_until_told_to_refresh(folder: Path) -> None:
    make = Counted()
    assert remembered("probe", {"cpu": "a"}, make) == {"answer": 1}
    assert remembered("probe", {"cpu": "a"}, make) == {"answer": 1}
    assert remembered("probe", {"cpu": "a"}, make, refresh=True) == {"answer": 2}
    assert remembered("probe", {"cpu": "a"}, make) == {"answer": 2}
    assert [path.suffix for path in folder.iterdir()] == [".json"]


def test_another_device_is_asked_anew(folder: Path) -> None:
    make = Counted()
    remembered("probe", {"cpu": "a"}, make)
    assert remembered("probe", {"cpu": "b"}, make) == {"answer": 2}


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    make = Counted()
    remembered("probe", {}, make)
    (file,) = folder.iterdir()
    file.write_text('{"answer"')
    assert remembered("probe", {}, make) == {"answer": 2}
    assert json.loads(file.read_text()) == {"answer": 2}


def test_a_cache_that_cannot_be_written_is_no_error(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    assert remembered("probe", {}, Counted()) == {"answer": 1}


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "ours"
    monkeypatch.delenv("POCKETLENS_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "pocketlens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "pocketlens"
