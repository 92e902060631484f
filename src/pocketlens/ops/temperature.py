"""Calibration of confidences: the temperature that logits are divided by, and the score under which nothing fits."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures lie between."""

_HALVINGS = 40
"""Of the search's interval: to 1e-11 of it."""


def fit_temperature(logits: "NDArray[np.floating]", labels: "NDArray[np.integer]") -> float:
    """The temperature with the least negative log likelihood, in COLDEST..HOTTEST.

    The likelihood is concave in 1 / temperature, so its slope changes sign once; bisection finds where. One image more,
    as likely of any class, counts among the n: where all were right, it keeps the model from sounding certain.

    Args:
        logits: (n, classes).
        labels: (n,), the right classes.
    Reference: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    n = len(scores)
    right = float(np.take_along_axis(scores, labels[:, np.newaxis], axis=1).sum() + scores.mean()) / (n + 1)
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(scores / np.exp(middle))
        expected = float(((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean())
        # Surer than right: the answers that it expects score more than the right ones do.
        low, high = (middle, high) if expected > right else (low, middle)
    return float(np.exp((low + high) / 2))


def known_above(logits: "NDArray[np.floating]", share: float) -> float:
    """The score that at most `share` of images fall below, by their largest logit.

    The largest logit tells unknown things from known ones better than the probability does, which says only how
    the classes compare.

    Args:
        logits: (n, classes), of things that are known.
        share: for example 0.05.
    Reference: Hendrycks et al. 2022, arXiv:1911.11132, "MaxLogit".
    """
    return float(np.quantile(logits.max(axis=1), share, method="lower"))
