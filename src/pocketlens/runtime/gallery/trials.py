"""What a gallery would answer to photos whose truth is known: the raw material of thresholds and figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.runtime.gallery.search import Index

_BLOCK = 64
"""Photos scored at a time: bounds the memory at 26 MB an array with 50,000 entries."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """The best answer to each of some photos.

    Args:
        cosine: (n,), of the best entry.
        lead: (n,), its cosine minus that of the best other entry; infinite when there is no other.
        correct: (n,), whether it is what the photo shows; false for what the gallery does not hold.
    """

    cosine: NDArray[np.float64]
    lead: NDArray[np.float64]
    correct: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.cosine)

    def accepted(self, threshold: float, margin: float) -> NDArray[np.bool_]:
        """(n,): whether the best answer counts."""
        return (self.cosine >= threshold) & (self.lead >= margin)

    @classmethod
    def of_scores(cls, scores: NDArray[np.float32], labels: NDArray[np.int64]) -> "Trials":
        """From each photo's cosines with all entries.

        Args:
            scores: (n, entries); minus infinity for an entry that a photo is not compared with.
            labels: (n,), the entry that a photo shows, -1 for none.
        """
        # As Index compares them: a threshold in float32 may let its neighbour through.
        others = scores.astype(np.float64)
        rows, best = np.arange(len(others)), others.argmax(axis=1)
        cosine = others[rows, best]
        others[rows, best] = -np.inf
        return cls(cosine=cosine, lead=cosine - others.max(axis=1), correct=best == labels)

    @classmethod
    def joined(cls, parts: Sequence["Trials"]) -> "Trials":
        """One after another; of none, none."""
        return cls(
            cosine=np.concatenate([np.zeros(0), *(part.cosine for part in parts)]),
            lead=np.concatenate([np.zeros(0), *(part.lead for part in parts)]),
            correct=np.concatenate([np.zeros(0, np.bool_), *(part.correct for part in parts)]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """Photos of things that the gallery holds and of things that it does not.

    Args:
        known: of what it holds.
        unseen: of what it does not hold.
    """

    known: Trials
    unseen: Trials


def validation_trials(index: Index, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> Held:
    """Photos that were not enrolled.

    When all show things that the gallery holds, each is also tried against the gallery without its thing, as unseen.

    Args:
        index: of the gallery.
        vectors: (n, dimensions), of the photos.
        labels: (n,), the entry that a photo shows, -1 for none.
    """
    left_out = bool((labels >= 0).all()) and len(index.gallery.entries) > 1
    known, unseen = [], []
    for rows in _blocks(len(vectors)):
        scores, own = index.scores(vectors[rows]), labels[rows]
        is_known = own >= 0
        known.append(Trials.of_scores(scores[is_known], own[is_known]))
        unseen.append(_without_own(scores, own) if left_out else Trials.of_scores(scores[~is_known], own[~is_known]))
    return Held(known=Trials.joined(known), unseen=Trials.joined(unseen))


def enrolled_trials(vectors: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> Held:
    """The enrolled photos themselves, none judged by what it was enrolled for.

    As known, each is tried against a gallery whose entry of its thing is made of that thing's other photos; a thing
    with one photo has no such trial. As unseen, each is tried against a gallery without its thing; with one thing
    there is no such trial.

    Args:
        vectors: (n, dimensions), of unit length.
        labels: (n,), 0 to `classes` - 1.
        classes: each with a photo at least.
    """
    sums = np.zeros((classes, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors)
    counts = np.bincount(labels, minlength=classes)
    entries = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    known, unseen = [], []
    for rows in _blocks(len(vectors)):
        scores, own = vectors[rows] @ entries.T, labels[rows]
        if classes > 1:
            unseen.append(_without_own(scores, own))
        rest = sums[own] - vectors[rows]
        several = (counts[own] > 1) & (np.linalg.norm(rest, axis=1) > 0)
        rest = rest[several] / np.linalg.norm(rest[several], axis=1, keepdims=True)
        scores = scores[several]
        scores[np.arange(len(scores)), own[several]] = np.sum(vectors[rows][several] * rest, axis=1)
        known.append(Trials.of_scores(scores, own[several]))
    return Held(known=Trials.joined(known), unseen=Trials.joined(unseen))


def _without_own(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> Trials:
    others = scores.copy()
    others[np.arange(len(others)), labels] = -np.inf
    return Trials.of_scores(others, np.full(len(others), -1))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
