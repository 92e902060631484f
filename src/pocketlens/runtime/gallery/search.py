"""Which entries a picture resembles: exact cosines with every vector of a gallery."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pocketlens.errors import ConfigError
from pocketlens.runtime.gallery.gallery import Gallery


@dataclass(frozen=True, kw_only=True)
class Match:
    """One entry that a picture may show.

    Args:
        entry: its place in the gallery.
        id: its id.
        label: its readable name.
        cosine: the largest with one of its vectors, -1 to 1.
        accepted: whether the gallery's threshold and margin let it count. At most the first match is; when it is
            not, the gallery does not know what the picture shows.
    """

    entry: int
    id: str
    label: str
    cosine: float
    accepted: bool


class Index:
    """A gallery made ready for searching.

    It holds the vectors in floats, of unit length: 4 bytes a number, and a search is one product of matrices.
    50,000 vectors of 256 numbers take 51 MB and about 5 ms a search.

    Args:
        gallery: to search in.
    """

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        rows = gallery.vectors.astype(np.float32)
        # The length that the codes have, which rounding moved from 127.
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._rows = rows
        counts = [entry.vectors for entry in gallery.entries]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._plain = len(counts) == len(rows)

    def scores(self, queries: NDArray[np.floating]) -> NDArray[np.float32]:
        """Each query's cosine with each entry, the largest over the entry's vectors.

        Args:
            queries: (n, dimensions), finite; a row of zeros, which points nowhere, scores 0 everywhere.
        Returns: (n, entries), -1 to 1.
        Raises: ConfigError when they are of another shape, or not finite.
        """
        dimensions = self.gallery.backbone.dimensions
        if queries.ndim != 2 or queries.shape[1] != dimensions:
            raise ConfigError(f"queries must be (n, {dimensions}), as the gallery's vectors, got {queries.shape}")
        if not np.isfinite(queries).all():
            raise ConfigError("queries must be finite, got NaN or an infinity; embed the images again")
        length = np.linalg.norm(queries, axis=1, keepdims=True)
        units = np.divide(queries, length, out=np.zeros(queries.shape, np.float32), where=length > 0, casting="unsafe")
        # A vector with a matrix is a plain matrix-vector product: numpy's product of matrices is slower on one row.
        cosines = (self._rows @ units[0])[np.newaxis] if len(units) == 1 else units @ self._rows.T
        np.clip(cosines, -1.0, 1.0, out=cosines)
        return cosines if self._plain else np.maximum.reduceat(cosines, self._starts, axis=1)

    def search(self, queries: NDArray[np.floating], top_k: int = 5) -> list[tuple[Match, ...]]:
        """The entries that resemble each query most.

        Args:
            queries: (n, dimensions), as in `scores`.
            top_k: how many, at least 1; at most all come back.
        Returns: per query its matches, best first; of equal ones the earlier entry.
        Raises: ConfigError when `top_k` is below 1, or as in `scores`.
        """
        if top_k < 1:
            raise ConfigError(f"`top_k` must be at least 1, got {top_k}")
        return [self._matches(row, top_k) for row in self.scores(queries)]

    def _matches(self, cosines: NDArray[np.float32], top_k: int) -> tuple[Match, ...]:
        # One more than asked for: acceptance needs the second, too.
        best = largest(cosines, max(2, top_k))
        runner_up = float(cosines[best[1]]) if len(best) > 1 else -np.inf
        known = accepted(float(cosines[best[0]]), runner_up, self.gallery)
        return tuple(
            Match(
                entry=int(place),
                id=self.gallery.entries[place].id,
                label=self.gallery.entries[place].label,
                cosine=float(cosines[place]),
                accepted=known and rank == 0,
            )
            for rank, place in enumerate(best[:top_k])
        )


def accepted(cosine: float, runner_up: float, gallery: Gallery) -> bool:
    """Whether the best entry counts.

    Args:
        cosine: of the best entry.
        runner_up: of the best other entry; minus infinity when there is none.
        gallery: whose threshold and margin decide.
    """
    return cosine >= gallery.threshold and cosine - runner_up >= gallery.margin


def largest(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """The places of the `count` largest values, largest first; of equal ones the earlier."""
    if count >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - count)[len(values) - count]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")][:count]
