import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.errors import ConfigError
from pocketlens.runtime.gallery.operating_point import DEFAULT_THRESHOLD, choose
from pocketlens.runtime.gallery.trials import Held, Trials


def trials(cosine: list[float], lead: list[float] | None = None, correct: bool = True) -> Trials:
    return Trials(
        cosine=np.array(cosine, np.float64),
        lead=np.array(lead if lead is not None else [1.0] * len(cosine), np.float64),
        correct=np.full(len(cosine), correct),
    )


def test_half_way_between_the_unseen_and_the_known() -> None:
    held = Held(known=trials([0.9, 0.52, 0.3]), unseen=trials([i / 40 + 5e-5 for i in range(20)], correct=False))
    point = choose(held, 0.05, "validation")
    # Of 20 one may pass, but not the second, 0.45005; the next known one has 0.52.
    assert (point.threshold, point.margin) == (pytest.approx(0.4851), 0.0)
    assert (point.unseen, point.false_accepts, point.known, point.correct_accepts) == (20, 0, 3, 2)
    # Of 20 four may pass, not the fifth, 0.37505.
    assert choose(held, 0.2, "validation").threshold == pytest.approx(0.4476)


def test_a_margin_that_names_more_is_taken() -> None:
    held = Held(known=trials([0.6, 0.6], [0.3, 0.3]), unseen=trials([0.8, 0.2], [0.01, 0.5], correct=False))
    point = choose(held, 0.05, "validation")
    assert (point.margin, point.correct_accepts, point.false_accepts) == (0.02, 2, 0)


def test_without_known_trials_the_threshold_alone_decides() -> None:
    point = choose(Held(known=trials([]), unseen=trials([0.1, 0.4], correct=False)), 0.05, "enrolled", things=2)
    assert (point.threshold, point.margin, point.false_accepts) == (pytest.approx(0.4001), 0.0, 0)
    assert "they show 2 things, too few to trust" in point.sentence()


def test_what_no_trial_measured_is_a_guess() -> None:
    point = choose(Held(known=trials([0.9]), unseen=trials([])), 0.05, "enrolled")
    assert (point.threshold, point.source) == (DEFAULT_THRESHOLD, "none")
    assert point.false_accept_rate is None
    assert point.false_accept_interval is None
    assert "could not be measured" in point.sentence()
    assert "--validation" in point.sentence()


def test_few_trials_are_told_of() -> None:
    point = choose(Held(known=trials([0.9]), unseen=trials([0.1] * 10, correct=False)), 0.05, "validation")
    # None of 10 passed; Wilson's interval says that a fifth may.
    assert point.false_accept_interval == pytest.approx((0, 0.213), abs=1e-3)
    assert "of 10 unseen (validation photos) 0 are accepted, 0.0% (0.0% to 21.3% at 90% confidence)" in point.sentence()
    assert point.to_json()["false_accept_rate_interval"] == pytest.approx([0, 0.213], abs=1e-3)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"for 5% give 0\.05"):
        choose(Held(known=trials([]), unseen=trials([0.1])), rate, "validation")


@settings(deadline=None, max_examples=100)
@given(
    unseen=st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(0, 2, width=32)), min_size=1, max_size=60),
    known=st.lists(st.tuples(st.floats(-1, 1, width=32), st.floats(0, 2, width=32)), max_size=30),
    rate=st.floats(0.01, 0.5),
)
def test_the_rate_is_never_exceeded(
    unseen: list[tuple[float, float]], known: list[tuple[float, float]], rate: float
) -> None:
    held = Held(
        known=trials([c for c, _ in known], [m for _, m in known]),
        unseen=trials([c for c, _ in unseen], [m for _, m in unseen], correct=False),
    )
    point = choose(held, rate, "validation")
    # A cosine of 1 is beyond any threshold, as copies of an enrolled photo are.
    copies = sum(cosine > 0.9999 for cosine, _ in unseen)
    assert point.false_accepts <= max(rate * len(unseen) + 1e-6, copies)
    assert -1 <= point.threshold <= 1
