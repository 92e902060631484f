import numpy as np
import pytest
from tests.runtime.gallery.conftest import MakeGallery

from pocketlens.errors import ConfigError, DataError
from pocketlens.runtime.gallery.evaluate import evaluate_gallery
from pocketlens.runtime.gallery.examples import Examples
from pocketlens.tasks import wilson_interval


def photos(classes: tuple[str, ...], **rows: list[tuple[float, float, float]]) -> Examples:
    vectors = np.array([vector for name in classes for vector in rows[name]], np.float32)
    labels = np.repeat(np.arange(len(classes)), [len(rows[name]) for name in classes])
    return Examples(classes=classes, vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), labels=labels)


def test_figures_by_hand(make_gallery: MakeGallery) -> None:
    examples = photos(
        ("blue", "green", "red"),
        blue=[(0, 0, 1), (-1, 0, 0)],
        green=[(0, 1, 0), (1, 0.5, 0)],
        red=[(1, 0, 0), (1, 0.95, 0)],
    )
    found = evaluate_gallery(make_gallery(), examples, rate=0.5)
    # Green's second picture looks more like red: rank 2. Red's second is first, but leads by less than the margin.
    assert (found["known"], found["unseen"], found["entries"], found["vectors"]) == (4, 2, 2, 3)
    assert found["recall_at_1"] == 0.75
    assert found["recall_at_1_interval"] == list(wilson_interval(3, 4))
    assert found["recall_at_5"] == 1
    assert found["map"] == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert found["accepted_recall_at_1"] == 0.5
    # Blue has 0.6 of red's second vector and so passes; (-1, 0, 0) is like nothing.
    assert found["false_accept_rate"] == 0.5
    assert found["auroc"] == 1
    assert found["threshold_at_rate"] == pytest.approx(0, abs=1e-6)
    assert found["recall_at_rate"] == 0.75


def test_more_unseen_photos(make_gallery: MakeGallery) -> None:
    known = photos(("red",), red=[(1, 0, 0)])
    found = evaluate_gallery(make_gallery(), known, photos(("blue",), blue=[(0, 0, 1), (1, 0, 0)]))
    # One unseen picture is as red as red itself, which counts half.
    assert (found["unseen"], found["auroc"], found["false_accept_rate"]) == (2, 0.75, 1.0)
    assert found["recall_at_rate"] == 0
    low, high = found["auroc_interval"]
    assert 0 <= low < 0.75 < high <= 1
    with pytest.raises(DataError, match="unseen photos show 'red', which the gallery holds"):
        evaluate_gallery(make_gallery(), known, known)


def test_what_cannot_be_measured_is_none(make_gallery: MakeGallery) -> None:
    found = evaluate_gallery(make_gallery(), photos(("red",), red=[(1, 0, 0)]))
    for name in ("false_accept_rate", "false_accept_rate_interval", "auroc", "recall_at_rate", "threshold_at_rate"):
        assert found[name] is None
    found = evaluate_gallery(make_gallery(), photos(("blue",), blue=[(0, 0, 1)]))
    for name in ("recall_at_1", "recall_at_5", "map", "accepted_recall_at_1", "auroc", "recall_at_rate"):
        assert found[name] is None
    assert found["false_accept_rate"] == 1


@pytest.mark.parametrize("rate", [0.0, 1.0, 7.0])
def test_rates_that_are_none(rate: float, make_gallery: MakeGallery) -> None:
    with pytest.raises(ConfigError, match="`rate`"):
        evaluate_gallery(make_gallery(), photos(("red",), red=[(1, 0, 0)]), rate=rate)
