"""What every runtime on this machine does alike: stream images through a session, and race in processes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pocketlens.targets import Session
from pocketlens.targets.race import race
from pocketlens.types import Artifact, RacePlan, Timing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LocalTarget(ABC):
    """The half of a `types.Target` that only needs to know how a file is opened."""

    @abstractmethod
    def open(self, artifact: Artifact, threads: int) -> Session:
        """A session for one of several that may be alive in this process."""

    def outputs(
        self, artifact: Artifact, batches: "Iterable[NDArray[np.float32]]", threads: int = 2
    ) -> "Iterator[NDArray[np.float32]]":
        """Run batches through the artifact, streaming."""
        session = self.open(artifact, threads)
        for batch in batches:
            yield session.run(batch)

    def all_outputs(
        self, artifact: Artifact, batches: "Iterable[NDArray[np.float32]]", threads: int = 2
    ) -> "Iterator[dict[str, NDArray[np.float32]]]":
        """Run batches through the artifact, streaming; every output by its name."""
        session = self.open(artifact, threads)
        for batch in batches:
            yield session.run_all(batch)

    def race(self, artifacts: Sequence[Artifact], plan: RacePlan) -> tuple[Timing, ...]:
        """Time artifacts against one another; see `race.race`."""
        return race(artifacts, plan)
