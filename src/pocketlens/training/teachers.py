"""Teachers: what they answer, remembered per augmentation, so that no image is shown to them twice."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pocketlens.errors import ModelError, OutputError
from pocketlens.models import store
from pocketlens.models.sources import outputs_of
from pocketlens.training.pictures import Pictures, to_input
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import ImageSet, Model
from pocketlens.whole_file import whole_file


class Teachers:
    """The mean logits of one or several frozen networks.

    Args:
        models: with the same classes.
        networks: what runs, in order: gives logits, or (logits, features...) where features are compared.
        images: that they are asked about.
        plan: whose augmentations they see.
        seed: of the augmentations.
        side: how large decoded pictures are kept: it decides pixels.
        folder: where answers are remembered; shared by runs.
        device: to compute on.
    """

    def __init__(
        self,
        models: Sequence[Model],
        networks: Sequence[nn.Module],
        images: ImageSet,
        plan: TrainingPlan,
        *,
        seed: int,
        side: object,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._models, self._device = models, device
        self._networks = [n.to(device).eval().to(memory_format=torch.channels_last) for n in networks]  # pyright: ignore
        distorted = (plan.augment, plan.smallest_crop, seed, str(side))
        asked = [store.digest(m) for m in models], images.fingerprint(), distorted
        self._folder = folder / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
        self._count, self._repeats = len(images), plan.views > 0
        self._answers: dict[int, Tensor] = {}
        self._changed: set[int] = set()
        self.asked = 0

    def known(self, view: int) -> Tensor:
        """(images,), bool: whose answers are remembered for this augmentation."""
        answers = self._of(view)
        return torch.zeros(self._count, dtype=torch.bool) if answers is None else ~answers[:, 0].isnan()

    def logits(self, pictures: Pictures, view: int, precision: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        """Answers for a batch, asking only where it is needed.

        Args:
            pictures: `asked` says for which images the teachers' pictures are there.
            view: which augmentation.
            precision: float32 or bfloat16.
        Returns: (n, classes), and the features of the first teacher when its network gives any.
        """
        features: list[Tensor] = []
        answers = self._of(view)
        if len(pictures.asked):
            total: Tensor | None = None
            for model, network, views in zip(self._models, self._networks, pictures.teachers, strict=True):
                images = to_input(views, model.spec.preprocessing, self._device)
                enabled = precision != torch.float32
                with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=enabled):
                    given = network(images)
                own, inner = (given[0], list(given[1:])) if isinstance(given, tuple) else (given, [])
                total = own.float() if total is None else total + own.float()
                features = features or [f.float() for f in inner]
            assert total is not None
            # Half precision always, so that what is remembered and what is fresh are the same numbers.
            fresh = (total / len(self._models)).half().cpu()
            if answers is None:
                answers = torch.full((self._count, fresh.shape[1]), torch.nan, dtype=torch.float16)
                self._answers[view] = answers
            answers[pictures.indices[pictures.asked]] = fresh
            self._changed.add(view)
            self.asked += len(pictures.asked)
        assert answers is not None
        return answers[pictures.indices].float().to(self._device), features

    def flush(self) -> None:
        """Write what is new to disk; a full disk only means that another run will ask again."""
        for view in sorted(self._changed):
            with contextlib.suppress(OutputError, OSError, SafetensorError):
                self._folder.mkdir(parents=True, exist_ok=True)
                with whole_file(self._folder / f"view{view}.safetensors") as part:
                    save_file({"logits": self._answers[view]}, part)
                self._changed.discard(view)

    def _of(self, view: int) -> Tensor | None:
        """The answers of one augmentation; only one is held at a time, and those that no disk took but come back."""
        if view not in self._answers:
            self.flush()
            if not self._repeats:
                self._changed.clear()
            self._answers = {kept: self._answers[kept] for kept in self._changed}
            with contextlib.suppress(OSError, SafetensorError, KeyError):
                found = load_file(self._folder / f"view{view}.safetensors")["logits"]
                if found.shape[0] == self._count and found.dtype == torch.float16:
                    self._answers[view] = found.clone()
        return self._answers.get(view)


def check_classes(student: Model, teachers: Sequence[Model]) -> None:
    """Raise ModelError naming a teacher that answers in other classes than the student."""
    wanted = outputs_of(student)
    for teacher in teachers:
        outputs = outputs_of(teacher)
        ours, theirs = student.spec.class_ids, teacher.spec.class_ids
        if outputs != wanted or (ours and theirs and ours != theirs):
            found = f"{outputs} classes" if outputs != wanted else "the same number of classes, but other ones"
            raise ModelError(
                f"the teacher {teacher.spec.name} must know the student's {wanted} classes in the same order, it has "
                f"{found}; train it on this data first: pocketlens train {teacher.spec.name} --data DIR"
            )
