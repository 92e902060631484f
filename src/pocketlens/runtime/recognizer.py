"""From a bundle to answers and embeddings: open it once, ask it about images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pocketlens.bundle.archive import open_bundle
from pocketlens.bundle.confidence import Confidence
from pocketlens.bundle.whitening import Whitening
from pocketlens.datasets.images import open_image, preprocess
from pocketlens.errors import BundleError, ConfigError, TargetError
from pocketlens.targets.onnxruntime.session import Session, open_session
from pocketlens.tasks import TASKS
from pocketlens.types import ModelSpec

Picture = Path | bytes | Image.Image
"""A file, its bytes, or a decoded picture, which is taken to be upright."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One class that an image may show.

    Args:
        label: its readable name.
        class_id: its folder-like name, "" when unknown.
        index: of the output.
        probability: calibrated, 0 to 1: by softmax of the logits over the bundle's temperature.
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
        unknown: whether the image shows nothing that the model knows; the answers are its best guesses all the same.
        preprocess_ms: time to decode, resize and scale the image.
        inference_ms: time in the runtime.
    """

    answers: tuple[Answer, ...]
    unknown: bool
    preprocess_ms: float
    inference_ms: float


class Recognizer:
    """An open model that names what is in images, and tells how alike they are; use `Recognizer.open`, in a `with`.

    Args:
        session: the graph, open.
        spec: of the model.
        graph_name: which of the bundle's graphs it is.
        fingerprint: of the bundle; embeddings of bundles with another one do not compare.
        confidence: how its logits become confidences.
        whitening: how its embeddings become vectors, or None when the bundle has none.
    """

    def __init__(
        self,
        session: Session,
        spec: ModelSpec,
        graph_name: str,
        *,
        fingerprint: str,
        confidence: Confidence,
        whitening: Whitening | None,
    ) -> None:
        self.spec = spec
        self.graph_name = graph_name
        self.fingerprint = fingerprint
        self.confidence = confidence
        self._whitening = whitening
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
            whitening = bundle.whitening()
        if labels is not None:
            known = len(spec.class_ids or spec.labels)
            if known and len(labels) != known:
                raise ConfigError(f"`labels` must be {known}, one an output, got {len(labels)}")
            spec = replace(spec, labels=tuple(labels))
        try:
            session = open_session(files.graph, files.weights, files.session, threads)
        except TargetError as error:
            raise TargetError(f"{path}, graph {files.entry.name!r}: {error}") from error
        return cls(
            session,
            spec,
            files.entry.name,
            fingerprint=bundle.manifest.fingerprint,
            confidence=bundle.manifest.confidence,
            whitening=whitening,
        )

    def __enter__(self) -> "Recognizer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the model's memory back."""
        self._session = None

    def recognize(self, image: Picture, top_k: int = 5) -> Recognition:
        """Name what is in an image.

        Args:
            image: a file, its bytes, or a decoded picture, which is taken to be upright.
            top_k: how many answers, at least 1; at most all classes come back.
        Raises: ImageError when it cannot be decoded; TargetError when the model fails or gives NaN;
            UnsupportedModelError when its output is not the task's.
        """
        session = self._opened()
        start = perf_counter()
        pixels = self._pixels(image)
        ready = perf_counter()
        logits = session.run(pixels)
        done = perf_counter()
        self._task.check_output(logits.shape, self.spec)
        self._check_finite(logits)
        answers = self._task.answers(logits / self.confidence.temperature, self.spec, top_k)[0]
        floor = self.confidence.unknown_below
        return Recognition(
            answers=tuple(Answer(**answer) for answer in answers),
            unknown=floor is not None and float(logits.max()) < floor,
            preprocess_ms=(ready - start) * 1e3,
            inference_ms=(done - ready) * 1e3,
        )

    @property
    def dimensions(self) -> int:
        """Length of an embedding's vector, 0 when the bundle has none."""
        return 0 if self._whitening is None else self._whitening.dimensions

    def embed(self, images: Picture | Sequence[Picture]) -> NDArray[np.float32]:
        """What images look like to the model, as vectors whose dot product says how alike they are.

        Args:
            images: one or several, each as in `recognize`.
        Returns: (n, dimensions), float32, of unit length; they compare only with those of a bundle that has the
            same `fingerprint`.
        Raises: BundleError when the bundle has no embedding; ImageError when an image cannot be decoded; TargetError
            when the model fails or gives NaN.
        """
        session, whitening = self._opened(), self._whitening
        if whitening is None:
            raise BundleError(
                f"{self.spec.name} has no embedding to search with: squeeze it again with this version, from a "
                "network that ends in a linear layer"
            )
        several = [images] if isinstance(images, Path | bytes | Image.Image) else images
        vectors = np.empty((len(several), whitening.dimensions), np.float32)
        for row, image in enumerate(several):
            outputs = session.run_all(self._pixels(image))
            features = outputs.get("embedding")
            if features is None or features.shape != (1, whitening.features):
                got = "none" if features is None else f"one of shape {features.shape}"
                raise BundleError(
                    f"graph {self.graph_name!r} should give an embedding (1, {whitening.features}), got {got}; "
                    "squeeze it again with this version"
                )
            self._check_finite(features)
            vectors[row] = whitening.apply(features)
        return vectors

    def _opened(self) -> Session:
        if self._session is None:
            raise TargetError("the recognizer is closed; open it again")
        return self._session

    def _pixels(self, image: Picture) -> NDArray[np.float32]:
        """One image as the model takes it, (1, channels, height, width)."""
        if isinstance(image, Image.Image):
            picture = image if image.mode == "RGB" else image.convert("RGB")
        else:
            picture = open_image(image)
        return preprocess(picture, self.spec.preprocessing)[np.newaxis]

    def _check_finite(self, outputs: NDArray[np.float32]) -> None:
        if not np.isfinite(outputs).all():
            raise TargetError(f"graph {self.graph_name!r} gave NaN or an infinity; try another graph of the bundle")
