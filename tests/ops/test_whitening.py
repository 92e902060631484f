import numpy as np
import pytest

from pocketlens.ops.whitening import OVERLOOKED, whiten


def test_by_hand() -> None:
    """Two features with variances 9 and 1, read by one difference of classes along the first."""
    features = np.array([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]]) + 7
    mean, rows = whiten(features, np.array([[2.0, 5.0], [-2.0, 5.0]]), 2)
    assert mean.tolist() == [7.0, 7.0]
    # The classifier reads 1 of 2 directions, so half way to the mean variance, 5: 7 and 3.
    wide, narrow = 7.0, 3.0
    np.testing.assert_allclose(np.abs(rows), [[wide**-0.5, 0.0], [0.0, OVERLOOKED * narrow**-0.5]], atol=1e-12)


def test_few_images_give_as_many_dimensions_as_many() -> None:
    rng = np.random.default_rng(1)
    mean, rows = whiten(rng.standard_normal((2, 40)), rng.standard_normal((5, 40)), 16)
    assert mean.shape == (40,)
    assert rows.shape == (16, 40)
    assert np.linalg.matrix_rank(rows) == 16


@pytest.mark.parametrize("classes", [3, 16, 17, 18, 100])
def test_directions_are_orthogonal_where_features_are_white(classes: int) -> None:
    rng = np.random.default_rng(1)
    features = np.concatenate([np.eye(40), -np.eye(40)])
    _, rows = whiten(features, rng.standard_normal((classes, 40)), 16)
    gram = rows @ rows.T / (features**2).mean() ** -1
    weights = np.sqrt(np.diag(gram))
    np.testing.assert_allclose(gram, np.diag(weights**2), atol=1e-9)
    read = min(classes - 1, 16)
    np.testing.assert_allclose(weights, [1.0] * read + [OVERLOOKED] * (16 - read), rtol=1e-9)


def test_what_the_classifier_reads_decides_what_is_alike() -> None:
    """Two things differ by a little in what the classifier reads, and by more in what it does not."""
    rng = np.random.default_rng(1)
    classifier = np.zeros((8, 32))
    classifier[:, :4] = rng.standard_normal((8, 4))
    _, rows = whiten(rng.standard_normal((64, 32)), classifier, 16)

    def length(difference: np.ndarray) -> float:
        return float(np.linalg.norm(rows @ difference))

    assert length(np.eye(32)[0]) > 3 * length(np.eye(32)[20])


def test_the_fewer_directions_are_read_the_more_is_shrunk() -> None:
    """How much a direction with 10 times the variance of the others is narrowed."""
    rng = np.random.default_rng(1)
    features = rng.standard_normal((400, 8)) * np.array([10**0.5] + [1.0] * 7)
    wide, others = np.eye(8)[0], np.eye(8)[1:]

    def narrowed(classes: int) -> float:
        _, rows = whiten(features, rng.standard_normal((classes, 8)), 8)
        gram = rows.T @ rows
        return float(wide @ gram @ wide / np.mean([other @ gram @ other for other in others]))

    full, some, few = (narrowed(classes) for classes in (20, 7, 3))
    assert full < some
    assert full == pytest.approx((0.9 + 0.1 * 17 / 8) / (9 + 0.1 * 17 / 8), rel=0.2)
    assert few > full


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(1)
    features, classifier = rng.standard_normal((20, 30)), rng.standard_normal((50, 30))
    one, same, other = (whiten(features, classifier, 8, seed=seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_a_classifier_whose_classes_are_all_alike_reads_nothing() -> None:
    features = np.random.default_rng(1).standard_normal((20, 6))
    _, rows = whiten(features, np.ones((3, 6)), 4)
    assert np.isfinite(rows).all()
    assert np.linalg.matrix_rank(rows) == 4
