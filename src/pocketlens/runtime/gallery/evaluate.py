"""How well a gallery tells things apart, and what it does not know from what it knows."""

import math

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import ConfigError, DataError
from pocketlens.runtime.gallery.examples import Examples
from pocketlens.runtime.gallery.gallery import Gallery
from pocketlens.runtime.gallery.search import Index
from pocketlens.runtime.gallery.trials import Trials
from pocketlens.tasks import Z, wilson_interval
from pocketlens.types import Json

_BLOCK = 64
"""Photos scored at a time, which bounds the memory."""


def evaluate_gallery(
    gallery: Gallery, examples: Examples, unseen: Examples | None = None, *, rate: float = 0.05
) -> Json:
    """Figures of a gallery on photos that were not enrolled.

    Args:
        gallery: to evaluate.
        examples: photos of what it holds; those of classes that it does not hold, or of no class, are unseen.
        unseen: more photos of what it does not hold.
        rate: of false accepts at which `recall_at_rate` is given.
    Returns: shares in 0..1, each with an interval [low, high] under the same name + `_interval` (Wilson's; Hanley and
        McNeil's for the AUROC) at `pocketlens.tasks.LEVEL`; None where there was no such photo. Of the `known` photos:
        `recall_at_1` and `recall_at_5`, the right entry is first, or among five; `map`, the mean of the average
        precision over the ranked entries, which is 1 / rank, as one entry is right; `accepted_recall_at_1`, it is
        first and accepted; `recall_at_rate`, it is first with a cosine at which at most `rate` of the unseen pass.
        Of the `unseen` photos: `false_accept_rate`, those accepted. Of both: `auroc`, how often a known photo's best
        cosine is above an unseen one's.
    Raises: DataError when `unseen` shows what the gallery holds; ConfigError when the rate is out of range.
    """
    if not 0 < rate < 1:
        raise ConfigError(f"`rate` must lie between 0 and 1, got {rate}; for 5% give 0.05")
    ids = [entry.id for entry in gallery.entries]
    vectors, labels = examples.vectors, examples.labels_among(ids)
    if unseen is not None:
        if held := sorted({unseen.classes[label] for label in unseen.labels if label >= 0} & set(ids)):
            raise DataError(f"the unseen photos show {held[0]!r}, which the gallery holds; move its folder to --data")
        vectors = np.concatenate([vectors, unseen.vectors])
        labels = np.concatenate([labels, np.full(len(unseen.vectors), -1)])
    index = Index(gallery)
    ranks, parts = [], []
    for start in range(0, len(vectors), _BLOCK):
        scores, own = index.scores(vectors[start : start + _BLOCK]), labels[start : start + _BLOCK]
        parts.append(Trials.of_scores(scores, own))
        ranks.append(_ranks(scores, own))
    trials, rank, known = Trials.joined(parts), np.concatenate(ranks), labels >= 0
    accepted = trials.accepted(gallery.threshold, gallery.margin)
    bar = _bar(trials.cosine[~known], rate)
    figures: Json = {
        "known": int(known.sum()),
        "unseen": int((~known).sum()),
        "entries": len(ids),
        "vectors": len(gallery.vectors),
        "threshold": gallery.threshold,
        "margin": gallery.margin,
    }
    figures |= _share("recall_at_1", (rank == 1)[known])
    figures |= _share("recall_at_5", (rank <= 5)[known])
    figures["map"] = float(np.mean(1 / rank[known])) if known.any() else None
    figures |= _share("accepted_recall_at_1", (accepted & trials.correct)[known])
    figures |= _share("false_accept_rate", accepted[~known])
    figures |= _auroc(trials.cosine[known], trials.cosine[~known])
    figures |= {"rate": rate, "threshold_at_rate": bar}
    at_rate = (trials.correct & (trials.cosine > (math.inf if bar is None else bar)))[known]
    return figures | _share("recall_at_rate", at_rate[:0] if bar is None else at_rate)


def _ranks(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,): the place of the right entry, from 1; of equal cosines the earlier entry comes first. 1 for the unseen."""
    own = np.take_along_axis(scores, np.maximum(labels, 0)[:, np.newaxis], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, np.newaxis]
    return np.where(labels < 0, 1, 1 + np.count_nonzero((scores > own) | ((scores == own) & earlier), axis=1))


def _bar(unseen: NDArray[np.float64], rate: float) -> float | None:
    """The cosine above which at most `rate` of the unseen lie."""
    return float(np.sort(unseen)[::-1][int(rate * len(unseen) + 1e-9)]) if len(unseen) else None


def _share(name: str, hits: NDArray[np.bool_]) -> Json:
    if not len(hits):
        return {name: None, f"{name}_interval": None}
    count = int(hits.sum())
    return {name: count / len(hits), f"{name}_interval": list(wilson_interval(count, len(hits)))}


def _auroc(known: NDArray[np.float64], unseen: NDArray[np.float64]) -> Json:
    """The area under the ROC curve, equal cosines counting half.

    Reference: Hanley and McNeil 1982, Radiology 143:29-36.
    """
    if not (len(known) and len(unseen)):
        return {"auroc": None, "auroc_interval": None}
    ordered = np.sort(unseen)
    below = np.searchsorted(ordered, known, "left") + np.searchsorted(ordered, known, "right")
    area = float(np.mean(below)) / 2 / len(unseen)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (len(known) - 1) * (q1 - area**2) + (len(unseen) - 1) * (q2 - area**2)
    half = Z * math.sqrt(max(0.0, spread) / len(known) / len(unseen))
    return {"auroc": area, "auroc_interval": [max(0.0, area - half), min(1.0, area + half)]}
