import numpy as np
import pytest
from tests.runtime.gallery.conftest import MakeGallery

from pocketlens.runtime.gallery.search import Index
from pocketlens.runtime.gallery.trials import Trials, enrolled_trials, validation_trials


def unit(*rows: tuple[float, ...]) -> np.ndarray:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_trials_by_hand() -> None:
    trials = Trials.of_scores(np.array([[0.9, 0.2], [0.4, 0.7]], np.float32), np.array([0, -1]))
    assert trials.cosine.tolist() == pytest.approx([0.9, 0.7])
    assert trials.lead.tolist() == pytest.approx([0.7, 0.3])
    assert trials.correct.tolist() == [True, False]
    assert trials.accepted(0.8, 0).tolist() == [True, False]
    assert trials.accepted(0.5, 0.5).tolist() == [True, False]
    assert trials.accepted(0.5, 0.2).tolist() == [True, True]


def test_with_one_entry_the_lead_is_infinite() -> None:
    assert Trials.of_scores(np.array([[0.5]], np.float32), np.array([0])).lead.tolist() == [np.inf]


def test_validation_photos_of_other_things_are_the_unseen(make_gallery: MakeGallery) -> None:
    vectors = unit((1, 0, 0), (0, 0.6, 0.8), (0, 1, 0))
    held = validation_trials(Index(make_gallery()), vectors, np.array([0, -1, 1]))
    assert held.known.correct.tolist() == [True, True]
    assert held.unseen.cosine.tolist() == pytest.approx([0.6], abs=0.01)


def test_when_all_are_known_each_is_tried_without_its_own(make_gallery: MakeGallery) -> None:
    held = validation_trials(Index(make_gallery()), unit((1, 0, 0), (0.6, 0.8, 0)), np.array([0, 1]))
    assert len(held.known) == len(held.unseen) == 2
    # Red has nothing in common with green; the second picture, of green, has 0.6 of red's first vector.
    assert held.unseen.cosine.tolist() == pytest.approx([0, 0.6], abs=0.01)
    assert not held.unseen.correct.any()


def test_the_enrolled_are_not_judged_by_themselves() -> None:
    vectors = unit((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1))
    held = enrolled_trials(vectors, np.array([0, 0, 1, 1]), 2)
    # The first is left with (0, 1, 0), which is nothing like it, while the entry of the others is near (1, 0, 2.4).
    assert held.known.correct[[0, 2, 3]].tolist() == [False, True, True]
    assert held.known.cosine[1] == pytest.approx(0, abs=1e-6)
    assert held.known.cosine[2] == pytest.approx(2**-0.5, abs=1e-6)
    # Without their own, the first two are compared with (0.707, 0, 1.707) alone.
    assert held.unseen.cosine[:2].tolist() == pytest.approx([0.3827, 0], abs=1e-3)


def test_one_photo_each_gives_unseen_but_no_known() -> None:
    held = enrolled_trials(unit((1, 0, 0), (1, 1, 0), (0, 0, 1)), np.arange(3), 3)
    assert len(held.known) == 0
    assert held.unseen.cosine.tolist() == pytest.approx([2**-0.5, 2**-0.5, 0], abs=1e-6)


def test_a_single_thing_gives_known_but_no_unseen() -> None:
    held = enrolled_trials(unit((1, 0, 0), (1, 1, 0)), np.zeros(2, np.int64), 1)
    assert len(held.unseen) == 0
    assert held.known.cosine.tolist() == pytest.approx([2**-0.5] * 2, abs=1e-6)


def test_photos_that_cancel_out_are_left_out() -> None:
    held = enrolled_trials(unit((1, 0, 0), (0, 1, 0), (0, -1, 0)), np.zeros(3, np.int64), 1)
    assert len(held.known) == 2
    assert np.isfinite(held.known.cosine).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, labels = unit(*map(tuple, rng.standard_normal((50, 8)))), np.arange(50) % 7
    whole = enrolled_trials(vectors, labels, 7)
    monkeypatch.setattr("pocketlens.runtime.gallery.trials._BLOCK", 9)
    parts = enrolled_trials(vectors, labels, 7)
    assert np.allclose(whole.known.cosine, parts.known.cosine, atol=1e-6)
    assert np.allclose(whole.unseen.lead, parts.unseen.lead, atol=1e-6)
