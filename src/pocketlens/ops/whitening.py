"""A whitening map from few images: they tell how features spread, the classifier which directions matter."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SHRINKAGE = 0.1
"""Of the covariance towards its mean variance: below it, what few images do not show at all would count most."""

OVERLOOKED = 0.25
"""Weight of directions that the classifier does not read. With none, a network trained on groceries tells landmarks
apart less well; at full weight, groceries, and much less."""


def whiten(
    features: "NDArray[np.floating]", classifier: "NDArray[np.floating]", dimensions: int, *, seed: int = 0
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Mean and map under which images are alike when the classifier would find them alike, for classes it never saw.

    Features are whitened by the inverse root of their shrunk covariance, then projected: on the directions that the
    classifier reads, or on random mixtures of these where they are more than `dimensions` (a projection on principal
    directions would throw away the narrow ones, which tell places apart), and with less weight on random others.

    The fewer directions the classifier reads, the more is shrunk: a network trained on few classes spreads its features
    along these classes (neural collapse), and whitening would flatten what it has learnt; one trained on many spreads
    them along what images have in common, which says little.

    Args:
        features: (n, d), n at least 2, not all the same.
        classifier: (classes, d), the weights of the layer that reads them.
        dimensions: of what the map gives, at most d.
        seed: of the random directions.
    Returns: mean (d,) and rows (dimensions, d); a vector is `rows @ (features - mean)`.
    Reference: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", eq. 1
        (the form of the shrinkage); Papyan, Han and Donoho 2020, arXiv:2008.08186 (neural collapse).
    """
    mean = features.mean(axis=0, dtype=np.float64)
    centred = (features - mean) / np.sqrt(len(features))
    # A common offset of all classes cancels in the softmax.
    classes = classifier - classifier.mean(axis=0, dtype=np.float64)
    shrinkage = max(LEAST_SHRINKAGE, 1 - len(_span(classes)) / features.shape[1])
    floor = shrinkage * float((centred**2).sum()) / features.shape[1]
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    variances = (1 - shrinkage) * spread**2 + floor

    def scaled(rows: "NDArray[np.float64]", power: float) -> "NDArray[np.float64]":
        """Rows times a power of the covariance, which is `floor` in all directions but `axes`."""
        return rows * floor**power + (rows @ axes.T * (variances**power - floor**power)) @ axes

    read = _span(scaled(classes, 0.5))
    rng = np.random.default_rng(seed)
    if len(read) > dimensions:
        read = _span(rng.standard_normal((dimensions, len(read))) @ read)
    rest = rng.standard_normal((dimensions - len(read), features.shape[1]))
    rest = _span(rest - rest @ read.T @ read)
    return mean, scaled(np.concatenate([read, OVERLOOKED * rest]), -0.5)


def _span(rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """An orthonormal basis of what the rows span, (rank, d)."""
    _, values, basis = np.linalg.svd(rows, full_matrices=False)
    return basis[values > 1e-6 * values.max(initial=0.0)]
