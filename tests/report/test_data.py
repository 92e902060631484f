from dataclasses import replace

import pytest

from pocketlens.errors import ConfigError
from pocketlens.report.data import Photo, ReportData

JPEG = b"\xff\xd8\xff\xe0"


def photo(before: dict[str, object], after: dict[str, object]) -> Photo:
    return Photo(key="a.jpg", thumbnail=JPEG, truth=None, before=(before,), after=(after,))


def test_an_answer_changed_when_its_class_did() -> None:
    assert photo({"label": "cat"}, {"label": "dog"}).changed
    assert not photo({"label": "cat"}, {"label": "cat"}).changed
    # ImageNet has two classes called "crane"
    assert photo({"label": "crane", "index": 134}, {"label": "crane", "index": 517}).changed
    assert not replace(photo({"label": "cat"}, {"label": "dog"}), after=()).changed


def test_a_thumbnail_must_be_a_jpeg() -> None:
    with pytest.raises(ConfigError, match="must be a JPEG"):
        Photo(key="a.svg", thumbnail=b"<svg>", truth=None, before=(), after=())


def test_names_are_checked(lite0: ReportData) -> None:
    with pytest.raises(ConfigError, match="int8, float"):
        replace(lite0, preferred="half")
    with pytest.raises(ConfigError, match="must differ"):
        replace(lite0, graphs=(*lite0.graphs, lite0.baseline))


def test_result_and_threads(lite0: ReportData) -> None:
    assert lite0.result.name == "float"
    assert lite0.threads == 1
    assert replace(lite0, baseline=replace(lite0.baseline, latency_ms={})).threads is None
