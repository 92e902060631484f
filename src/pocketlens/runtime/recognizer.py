"""From a bundle to answers: open it once, ask it about images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from pocketlens.bundle.archive import open_bundle
from pocketlens.datasets.images import open_image, preprocess
from pocketlens.errors import BundleError, ConfigError, TargetError
from pocketlens.targets.onnxruntime.session import Session, open_session
from pocketlens.tasks import TASKS
from pocketlens.types import ModelSpec


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One class that an image may show.

    Args:
        label: its readable name.
        class_id: its folder-like name, "" when unknown.
        index: of the output.
        probability: by softmax, 0 to 1.
    """

    label: str
    class_id: str
    index: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What was recognized in one image.

    Args:
        answers: the most probable first.
        preprocess_ms: time to decode, resize and scale the image.
        inference_ms: time in the runtime.
    """

    answers: tuple[Answer, ...]
    preprocess_ms: float
    inference_ms: float


class Recognizer:
    """An open model that names what is in images; use `Recognizer.open`, in a `with`.

    Args:
        session: the graph, open.
        spec: of the model.
        graph_name: which of the bundle's graphs it is.
    """

    def __init__(self, session: Session, spec: ModelSpec, graph_name: str) -> None:
        self.spec = spec
        self.graph_name = graph_name
        self._session: Session | None = session
        self._task = TASKS[spec.task]

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        graph: str | None = None,
        threads: int = 1,
        labels: Sequence[str] | None = None,
    ) -> "Recognizer":
        """Open a bundle.

        Args:
            path: a .lens file.
            graph: one of its graphs by name; None takes the one that won where the bundle was measured.
            threads: that one inference may use.
            labels: readable names in place of the bundle's, one an output (another language, for example).
        Raises: BundleError when it is damaged, unsafe, or needs a task that is not here; ConfigError when
            `labels` are not as many as the classes; TargetError when the runtime cannot open the graph.
        """
        with open_bundle(path) as bundle:
            spec = bundle.manifest.spec
            if spec.task not in TASKS:
                raise BundleError(
                    f"{path}: this pocketlens does {', '.join(TASKS)}, the bundle needs {spec.task!r}: upgrade"
                )
            files = bundle.graph(graph)
        if labels is not None:
            known = len(spec.class_ids or spec.labels)
            if known and len(labels) != known:
                raise ConfigError(f"`labels` must be {known}, one an output, got {len(labels)}")
            spec = replace(spec, labels=tuple(labels))
        try:
            session = open_session(files.graph, files.weights, files.session, threads)
        except TargetError as error:
            raise TargetError(f"{path}, graph {files.entry.name!r}: {error}") from error
        return cls(session, spec, files.entry.name)

    def __enter__(self) -> "Recognizer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the model's memory back."""
        self._session = None

    def recognize(self, image: Path | bytes | Image.Image, top_k: int = 5) -> Recognition:
        """Name what is in an image.

        Args:
            image: a file, its bytes, or a decoded picture, which is taken to be upright.
            top_k: how many answers, at least 1; at most all classes come back.
        Raises: ImageError when it cannot be decoded; TargetError when the model fails or gives NaN;
            UnsupportedModelError when its output is not the task's.
        """
        if self._session is None:
            raise TargetError("the recognizer is closed; open it again")
        start = perf_counter()
        if isinstance(image, Image.Image):
            picture = image if image.mode == "RGB" else image.convert("RGB")
        else:
            picture = open_image(image)
        pixels = preprocess(picture, self.spec.preprocessing)[np.newaxis]
        ready = perf_counter()
        outputs = self._session.run(pixels)
        done = perf_counter()
        self._task.check_output(outputs.shape, self.spec)
        if not np.isfinite(outputs).all():
            raise TargetError(f"graph {self.graph_name!r} gave NaN or an infinity; try another graph of the bundle")
        answers = self._task.answers(outputs, self.spec, top_k)[0]
        return Recognition(
            answers=tuple(Answer(**answer) for answer in answers),
            preprocess_ms=(ready - start) * 1e3,
            inference_ms=(done - ready) * 1e3,
        )
