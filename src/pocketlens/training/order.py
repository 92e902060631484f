"""Which images make which batch, and what an epoch has seen so far."""

import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Running:
    """Means over the steps of an epoch so far."""

    total: float = 0.0
    right: int = 0
    n: int = 0

    def add(self, loss: float, right: int, n: int) -> None:
        """Count a batch."""
        self.total += loss * n
        self.right += right
        self.n += n

    @property
    def loss(self) -> float:
        """Mean loss an image."""
        return self.total / max(self.n, 1)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / max(self.n, 1)


class Order:
    """Which images make which batch. An incomplete last batch is left out, unless it is the only one."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._size = min(batch_size, count)
        self.steps = count // self._size

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, another shuffle each."""
        order = np.random.default_rng((self._seed, epoch, 7)).permutation(self._count)
        return [order[i * self._size : (i + 1) * self._size].tolist() for i in range(self.steps)]


class Clock:
    """Images a second.

    Args:
        epochs: of the run.
    """

    def __init__(self, epochs: int) -> None:
        self._start = time.monotonic()
        self._images = 0
        self._epochs = epochs

    def count(self, images: int) -> None:
        """Add a batch."""
        self._images += images

    @property
    def seconds(self) -> float:
        """Since the run began here."""
        return time.monotonic() - self._start

    @property
    def images_per_second(self) -> float:
        """The mean so far, validation included."""
        return self._images / max(self.seconds, 1e-9)

    def text(self, epoch: int, step: int, running: Running) -> str:
        """What stands beside the progress bar."""
        return (
            f"epoch {epoch + 1}/{self._epochs}  loss {running.loss:.3f}  accuracy {running.accuracy:.1%}  "
            f"{self.images_per_second:.0f} images/s"
        )
