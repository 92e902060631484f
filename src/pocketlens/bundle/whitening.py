"""From a graph's embedding to the unit vectors that a gallery compares. Free of torch: it runs on the device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketlens.bundle.tensor_coding import Span
from pocketlens.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WHITENING = "embedding/whitening.bin"
"""The member that a bundle keeps it in."""

MAX_DIMENSIONS = 256
"""Of a vector: a search among 50,000 of them must take milliseconds on a phone."""

MAX_FEATURES = 65536

FINENESS = 3.0
"""Steps in the root mean square of a map's numbers. benchmarks/whitening.py measures coarser and finer ones."""

_LARGEST = 127


def member_bytes(features: int, dimensions: int) -> int:
    """Bytes of a whitening as a bundle's member."""
    return 4 * features + 4 * dimensions + features * dimensions


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """An affine map from features to fewer dimensions, in which no direction counts for more than it tells.

    Args:
        mean: (features,), float32, subtracted first.
        scale: (dimensions,), float32, > 0: row i of the map is `codes[i] * scale[i]`.
        codes: (dimensions, features), int8.
    """

    mean: "NDArray[np.float32]"
    scale: "NDArray[np.float32]"
    codes: "NDArray[np.int8]"

    def __post_init__(self) -> None:
        dimensions, features = self.codes.shape
        if self.mean.shape != (features,) or self.scale.shape != (dimensions,):
            raise ConfigError(
                f"codes {self.codes.shape} need a mean ({features},) and a scale ({dimensions},), "
                f"got {self.mean.shape} and {self.scale.shape}"
            )
        if not (0 < dimensions <= MAX_DIMENSIONS and 0 < features <= MAX_FEATURES):
            raise ConfigError(
                f"a whitening maps 1..{MAX_FEATURES} features to 1..{MAX_DIMENSIONS} dimensions, got {self.codes.shape}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and (self.scale > 0).all()):
            raise ConfigError("the mean must be finite and the scale finite and above 0; compute the whitening again")

    @classmethod
    def of_rows(
        cls, mean: "NDArray[np.floating]", rows: "NDArray[np.floating]", fineness: float = FINENESS
    ) -> "Whitening":
        """Code a map given in floats, all rows with one step.

        An error of any row moves a vector as far, so that one step for all gives the truest vectors for their bytes.

        Args:
            mean: (features,).
            rows: (dimensions, features), not all zeros.
            fineness: steps in the root mean square of the rows' numbers, > 0.
        """
        step = max(np.sqrt(np.mean(np.square(rows))) / fineness, np.abs(rows).max() / _LARGEST)
        scale = np.full(len(rows), step, np.float32)
        codes = np.rint(rows / scale[:, np.newaxis]).clip(-_LARGEST, _LARGEST).astype(np.int8)
        return cls(mean=_short(mean), scale=scale, codes=codes)

    @property
    def features(self) -> int:
        """Length of what goes in."""
        return self.codes.shape[1]

    @property
    def dimensions(self) -> int:
        """Length of what comes out."""
        return self.codes.shape[0]

    def apply(self, features: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Vectors of unit length whose dot product is the similarity of two images.

        Args:
            features: (n, features), a graph's output `embedding`.
        Returns: (n, dimensions), float32; the mean itself, which points nowhere, gives zeros.
        """
        vectors = (features - self.mean) @ self.codes.T.astype(np.float32) * self.scale
        length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0, casting="same_kind")

    def to_bytes(self) -> bytes:
        """Little-endian: mean float32[features], scale float32[dimensions], codes int8[dimensions][features]."""
        return self.mean.astype("<f4").tobytes() + self.scale.astype("<f4").tobytes() + self.codes.tobytes()

    def spans(self) -> tuple[Span, ...]:
        """Where its three tensors lie in `to_bytes`."""
        mean, scale = self.mean.nbytes, self.scale.nbytes
        return Span(0, mean, 4), Span(mean, scale, 4), Span(mean + scale, self.codes.size)

    @classmethod
    def from_bytes(cls, content: bytes, *, features: int, dimensions: int) -> "Whitening":
        """The inverse of `to_bytes`, for bytes of unknown origin.

        Raises: BundleError when they are not as many as the shape makes, or hold numbers that no map has.
        """
        if len(content) != member_bytes(features, dimensions):
            raise BundleError(
                f"a whitening of {features} features to {dimensions} dimensions takes "
                f"{member_bytes(features, dimensions)} bytes, got {len(content)}; copy or download the bundle again"
            )
        mean = np.frombuffer(content, "<f4", features).astype(np.float32)
        scale = np.frombuffer(content, "<f4", dimensions, 4 * features).astype(np.float32)
        codes = np.frombuffer(content, np.int8, offset=4 * (features + dimensions)).reshape(dimensions, features)
        try:
            return cls(mean=mean, scale=scale, codes=codes)
        except ConfigError as error:
            raise BundleError(f"the whitening is damaged: {error}") from error


def _short(values: "NDArray[np.floating]") -> "NDArray[np.float32]":
    """The nearest numbers that a bfloat16 holds: of their 4 bytes two are zero, which pack into nothing."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)
