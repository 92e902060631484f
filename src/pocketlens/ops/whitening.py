"""A whitening map from few images: they tell how features spread, the classifier tells which directions matter."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHRINKAGE = 0.8
"""Of the covariance towards its mean variance. Of 0.2, 0.5 and 0.8, with 64 to 128 images, the one that served both a
backbone that never saw the things to be found (landmarks, groceries) and one trained on them, whose widest directions
are the classes themselves and must not be flattened."""

OVERLOOKED = 0.25
"""Weight of directions that the classifier does not read. At 0, a backbone trained on groceries tells landmarks apart
less well; at 1, groceries: top-1 of one-shot retrieval fell from 73 to 61%."""


def whiten(
    features: "NDArray[np.floating]", classifier: "NDArray[np.floating]", dimensions: int, *, seed: int = 0
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Mean and map under which images are alike when the classifier would find them alike, for classes it never saw.

    Features are whitened by the inverse root of their shrunk covariance, then projected: on the directions that tell
    classes apart, or on random mixtures of these where they are more than `dimensions` (a Johnson-Lindenstrauss
    projection keeps what principal directions throw away), and with less weight on random ones of the rest.

    Args:
        features: (n, d), n at least 2, not all the same.
        classifier: (classes, d), the weights of the layer that reads them.
        dimensions: of what the map gives, at most d.
        seed: of the random directions.
    Returns: mean (d,) and rows (dimensions, d); a vector is `rows @ (features - mean)`.
    Reference: Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices" (the
        form of the shrinkage).
    """
    mean = features.mean(axis=0, dtype=np.float64)
    centred = (features - mean) / np.sqrt(len(features))
    floor = SHRINKAGE * float((centred**2).sum()) / features.shape[1]
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    variances = (1 - SHRINKAGE) * spread**2 + floor

    def scaled(rows: "NDArray[np.float64]", power: float) -> "NDArray[np.float64]":
        """Rows times a power of the covariance, which is `floor` in all directions but `axes`."""
        return rows * floor**power + (rows @ axes.T * (variances**power - floor**power)) @ axes

    # A common offset of all classes cancels in the softmax.
    read = _span(scaled(classifier - classifier.mean(axis=0, dtype=np.float64), 0.5))
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
