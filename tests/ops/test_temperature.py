import numpy as np
import pytest

from pocketlens.ops.temperature import COLDEST, HOTTEST, fit_temperature, known_above


def drawn(temperature: float, n: int = 4000, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn as the softmax of logits / temperature says."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((n, classes))
    gumbel = rng.gumbel(size=(n, classes))
    return logits.astype(np.float32), (logits / temperature + gumbel).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_at_is_found(temperature: float) -> None:
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_two_classes_by_hand() -> None:
    # Logits (1, 0), right in 3 of 4; with the image of any class that is 3.5 of 5: 1 / (1 + exp(-1 / T)) = 0.7.
    logits = np.tile([1.0, 0.0], (4, 1))
    assert fit_temperature(logits, np.array([0, 0, 1, 0])) == pytest.approx(1 / np.log(0.7 / 0.3), rel=1e-6)


def test_it_does_not_depend_on_an_offset() -> None:
    logits, labels = drawn(1.7)
    shifted = logits + np.arange(len(logits))[:, np.newaxis].astype(np.float64)
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-5)


def test_all_right_does_not_mean_certain() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((60, 4))
    temperature = fit_temperature(logits, logits.argmax(axis=1))
    assert temperature > 2 * COLDEST
    probabilities = np.exp(logits / temperature)
    assert 0.9 < (probabilities.max(axis=1) / probabilities.sum(axis=1)).mean() < 0.99


def test_bounds() -> None:
    logits = np.tile([1000.0, 0.0], (50, 1))
    assert fit_temperature(logits, np.ones(50, np.int64)) == pytest.approx(HOTTEST)  # all wrong
    assert fit_temperature(logits / 1e6, np.zeros(50, np.int64)) == pytest.approx(COLDEST)


@pytest.mark.parametrize("n", [20, 33, 100])
def test_at_most_the_share_lies_below(n: int) -> None:
    logits = np.random.default_rng(n).standard_normal((n, 3))
    below = np.count_nonzero(logits.max(axis=1) < known_above(logits, 0.05))
    assert n * 0.05 - 1 <= below <= n * 0.05


def test_the_threshold_by_hand() -> None:
    logits = np.stack([np.arange(41.0), np.full(41, -5.0)], axis=1)
    assert known_above(logits, 0.05) == 2.0  # 0 and 1 lie below: 2 of 41
