"""The loop: steps, schedule, checkpoints, validation. One for everything that trains."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, fx, nn

from pocketlens.datasets.choose import teaching_images
from pocketlens.errors import DataError, ModelError, OutputError
from pocketlens.models import store
from pocketlens.models.canonical import clone
from pocketlens.models.taps import tapped
from pocketlens.models.ties import held_ties
from pocketlens.ops import masks
from pocketlens.training.augment import source_for
from pocketlens.training.average import Average
from pocketlens.training.checkpoint import Checkpoint, CheckpointFolder, optimizer_tensors, restore_optimizer
from pocketlens.training.course import Course, Trained
from pocketlens.training.network import make_optimizer, prepare, quick_statistics, train_mode
from pocketlens.training.objectives import Lesson, Mixed
from pocketlens.training.order import Clock, Order, Running
from pocketlens.training.pictures import Pictures, Ticket, TrainingImages, to_input
from pocketlens.training.plan import TrainingPlan
from pocketlens.training.precision import bfloat16_pays
from pocketlens.training.score import Score, Validation
from pocketlens.training.teachers import Teachers
from pocketlens.types import Json, Model, Preprocessing

CHECKPOINT_SECONDS = 300.0
"""A checkpoint at the end of each epoch, and within one at least this often."""

logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision on stderr

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_FABRIC = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def train(model: Model, plan: TrainingPlan, course: Course) -> Trained:
    """Train a copy of `model`.

    A run that was killed goes on from its last checkpoint when it is called again with the same arguments, and ends
    with the same weights as one that was not.

    Raises: DataError without images to learn from, or when none can be read; ModelError when the loss is no longer a
        number.
    """
    return _Run(clone(model), plan, course).result()


class _Run:
    def __init__(self, model: Model, plan: TrainingPlan, course: Course) -> None:
        self._model, self._plan, self._course = model, plan, course
        self._constraints = (*course.constraints, *held_ties(model))
        self._images = teaching_images(course.data)
        self._device = torch.device(course.device)
        self._notes: list[str] = []
        self._folder = CheckpointFolder(course.work / "checkpoints", self._key())
        self._log_file = course.work / "log.jsonl"
        checkpoint, notes = self._folder.load()
        self._notes += notes
        self._precision = str(checkpoint.state["precision"]) if checkpoint else self._chosen_precision()
        self._start = checkpoint

    def result(self) -> Trained:
        course, plan = self._course, self._plan
        with ExitStack() as stack:
            if course.simulation is not None:
                stack.enter_context(course.simulation.held(self._model.graph))
            stack.enter_context(masks.held(self._model.graph, course.masks))
            graph = self._model.graph
            stack.enter_context(quick_statistics(graph))
            prepare(graph, plan)
            network = tapped(graph, [mine.node for mine, _ in course.taps]) if course.taps else graph
            trained = network.to(self._device).to(memory_format=torch.channels_last)  # pyright: ignore
            fabric = Fabric(
                accelerator=self._device.type,
                devices=_devices(self._device),
                precision=_FABRIC[self._precision],  # pyright: ignore
            )
            extra = course.objective.extra
            modules = nn.ModuleList([trained] if extra is None else [trained, extra.to(self._device)])
            optimizer = make_optimizer(modules, plan)
            student, optimizer = fabric.setup(trained, optimizer)
            self._steps(fabric, graph, student, optimizer)
        graph = self._model.graph.to("cpu").to(memory_format=torch.contiguous_format).eval()  # pyright: ignore
        for parameter in graph.parameters():
            parameter.requires_grad_(True)
            parameter.grad = None
        self._folder.remove()
        return Trained(
            model=self._model,
            log=tuple(self._log),
            best=self._best,
            precision=self._precision,
            notes=tuple(self._notes),
        )

    def _steps(
        self, fabric: Fabric, graph: fx.GraphModule, student: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        course, plan = self._course, self._plan
        sizes = (self._model.spec.preprocessing, *(t.spec.preprocessing for t in course.teachers))
        feed = TrainingImages(self._images, sizes, plan, course.seed)
        teachers = self._teachers(sizes)
        average = Average(graph, plan.ema) if plan.ema else None
        validate = self._validation()
        order = Order(len(self._images), plan.batch_size, course.seed)
        self._share_of_a_step = 1 / (plan.epochs * order.steps)
        self._log: list[Json] = []
        self._best: Score | None = None
        best: dict[str, Tensor] = {}
        epoch, step, running = 0, 0, Running()
        if self._start is not None:
            epoch, step, running, best = self._restore(self._start, graph, optimizer, average)
        elif validate is not None and course.choose == "best":
            # A lesson too short, or too fast, must not return less than it was given.
            self._best = self._score(graph, average, validate)
            best = _copy(graph.state_dict())
        batches = feed.batches(list(self._tickets(order, epoch, step, teachers)))
        left = range(epoch * order.steps + step, plan.epochs * order.steps)
        bar = iter(course.progress.track(left, "training", len(left)))
        clock = Clock(plan.epochs)
        saved = time.monotonic()
        while epoch < plan.epochs and not self._patience_over():
            train_mode(graph, plan)
            while step < order.steps:
                next(bar, None)
                pictures = next(batches)
                self._unreadable(pictures)
                done = (epoch * order.steps + step) / (plan.epochs * order.steps)
                self._step(fabric, student, optimizer, teachers, pictures, epoch, step, done, running)
                if average is not None:
                    average.follow(graph, epoch * order.steps + step)
                step += 1
                clock.count(len(pictures.labels))
                if step % 5 == 0 or step == order.steps:
                    course.progress.note(clock.text(epoch, step, running))
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save(graph, optimizer, average, best, epoch, step, running, teachers)
                    saved = time.monotonic()
            if not running.n:
                raise DataError(
                    f"{self._images.name} has no two readable images in a batch: {'; '.join(self._notes)[:300]}"
                )
            score = self._score(graph, average, validate)
            better = score is None or self._best is None or score.value >= self._best.value
            if better or course.choose == "last":
                self._best = score
                best = _copy(graph.state_dict() if average is None else average.tensors)
            self._log_epoch(epoch, running, score, clock)
            epoch, step, running = epoch + 1, 0, Running()
            self._save(graph, optimizer, average, best, epoch, step, running, teachers)
            saved = time.monotonic()
        for _ in bar:  # an early end still fills the bar
            pass
        if self._best is not None and all(line["validation"] < self._best.value for line in self._log):
            self._notes.append("no epoch scored better on validation images than what came in, which stays")
        graph.load_state_dict(best)

    def _step(
        self,
        fabric: Fabric,
        student: nn.Module,
        optimizer: torch.optim.Optimizer,
        teachers: Teachers | None,
        pictures: Pictures,
        epoch: int,
        step: int,
        done: float,
        running: Running,
    ) -> None:
        course, plan = self._course, self._plan
        answers, theirs = None, []
        if teachers is not None and len(pictures.labels):
            # Even of one image alone: later epochs count on the answer.
            answers, theirs = teachers.logits(pictures, plan.view(epoch), _DTYPES[self._precision])
        if len(pictures.labels) < 2:
            return  # batch norm needs two images; all others of this batch could not be read
        torch.manual_seed(int(np.random.SeedSequence((course.seed, epoch, step)).generate_state(1)[0]))
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(done)
        images = to_input(pictures.student, self._model.spec.preprocessing, self._device)
        labels = pictures.labels.to(self._device)
        mixed = _mix(plan)
        if mixed is not None:
            images = mixed.of(images).contiguous(memory_format=torch.channels_last)
            answers, theirs = None if answers is None else mixed.of(answers), [mixed.of(t) for t in theirs]
        if course.simulation is not None:
            course.simulation.before_forward(self._model.graph, done)
        given = student(images)
        logits, mine = (given[0], given[1:]) if isinstance(given, tuple) else (given, ())
        loss = course.objective(logits, Lesson(labels, answers, mine, theirs, mixed))
        value = float(loss.detach())
        if not np.isfinite(value):
            raise ModelError(
                f"the loss is {value} in epoch {epoch + 1}, step {step + 1}: lower `learning_rate` "
                f"(it is {plan.learning_rate}), or set `clip`"
            )
        fabric.backward(loss)
        for constraint in self._constraints:
            constraint.before_step(self._model.graph, done)
        if plan.clip:
            fabric.clip_gradients(student, optimizer, max_norm=plan.clip, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for constraint in self._constraints:
            constraint.after_step(self._model.graph, done, self._share_of_a_step)
        truth = labels if answers is None or bool((labels >= 0).all()) else answers.argmax(dim=1)
        running.add(value, int((logits.detach().argmax(dim=1) == truth).sum()), len(labels))

    def _teachers(self, sizes: tuple[Preprocessing, ...]) -> Teachers | None:
        course = self._course
        if not course.teachers:
            return None
        networks: list[nn.Module] = [clone(t).graph for t in course.teachers]
        if course.taps:
            graph = networks[0]
            assert isinstance(graph, fx.GraphModule)
            networks[0] = tapped(graph, [theirs.node for _, theirs in course.taps])
        return Teachers(
            course.teachers, networks, self._images, self._plan,
            seed=course.seed, side=source_for(sizes), folder=course.cache / "teachers", device=self._device,
        )  # fmt: skip

    def _validation(self) -> Validation | None:
        images = self._course.data.validation
        if images is None or not len(images):
            return None
        return Validation(images, self._model, self._course.original, self._plan.batch_size, self._device)

    def _tickets(self, order: Order, epoch: int, step: int, teachers: Teachers | None) -> Iterator[list[Ticket]]:
        """The batches of the rest of the run."""
        needed: dict[int, Tensor] = {}
        for later in range(epoch, self._plan.epochs):
            view = self._plan.view(later)
            if teachers is not None and view not in needed:
                # Features can't be remembered, so whoever compares them asks each time.
                always = bool(self._course.taps)
                needed[view] = torch.ones(len(self._images), dtype=torch.bool) if always else ~teachers.known(view)
            asks = needed.get(view)
            for batch in order.batches(later)[step if later == epoch else 0 :]:
                yield [Ticket(i, view, asks is not None and bool(asks[i])) for i in batch]
                if asks is not None and not self._course.taps:
                    asks[list(batch)] = False

    def _score(self, graph: fx.GraphModule, average: Average | None, validate: Validation | None) -> Score | None:
        if validate is None:
            return None
        if average is None:
            return validate(graph, _DTYPES[self._precision])
        own = _copy(graph.state_dict())
        graph.load_state_dict(average.tensors)
        score = validate(graph, _DTYPES[self._precision])
        graph.load_state_dict(own)
        return score

    def _patience_over(self) -> bool:
        if not self._plan.patience or self._best is None or not self._log:
            return False
        scores = [line["validation"] for line in self._log]
        since = len(scores) - 1 - max(range(len(scores)), key=lambda i: scores[i])
        if since >= self._plan.patience:
            self._notes.append(f"ended after epoch {len(scores)}: no better validation score for {since} epochs")
        return since >= self._plan.patience

    def _unreadable(self, pictures: Pictures) -> None:
        for key, reason in pictures.unreadable.items():
            note = f"{key} could not be read and was left out: {reason}"
            if note not in self._notes:
                self._notes.append(note)

    def _log_epoch(self, epoch: int, running: Running, score: Score | None, clock: Clock) -> None:
        line = {
            "epoch": epoch + 1,
            "loss": running.loss,
            "accuracy": running.accuracy,
            "validation": score.value if score else None,
            "validation_kind": score.kind if score else None,
            "images_per_second": clock.images_per_second,
            "learning_rate": self._plan.rate((epoch + 1) / self._plan.epochs),
            "seconds": clock.seconds,
        }
        self._log.append(line)
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            # Written anew: a run that was killed may have logged an epoch that it now repeats.
            self._log_file.write_text("".join(f"{json.dumps(logged)}\n" for logged in self._log), "utf-8")
        except OSError as error:
            self._say_once(f"the log cannot be written: {error.strerror or error}")

    def _save(
        self,
        graph: fx.GraphModule,
        optimizer: torch.optim.Optimizer,
        average: Average | None,
        best: dict[str, Tensor],
        epoch: int,
        step: int,
        running: Running,
        teachers: Teachers | None,
    ) -> None:
        if teachers is not None:
            teachers.flush()
        extra = self._course.objective.extra
        parts = {
            "model": graph.state_dict(),
            "best": best,
            "average": average.tensors if average else {},
            "extra": extra.state_dict() if extra is not None else {},
            "optimizer": optimizer_tensors(optimizer),
        }
        tensors = {f"{part}/{name}": tensor for part, values in parts.items() for name, tensor in values.items()}
        state = {
            "epoch": epoch,
            "step": step,
            "running": asdict(running),
            "best": asdict(self._best) if self._best else None,
            "log": self._log,
            "precision": self._precision,
        }
        try:
            self._folder.save(Checkpoint(tensors, state))
        except OutputError as error:
            # The run is worth more than its checkpoint: it goes on, and the last one that was written stays.
            self._say_once(str(error))

    def _restore(
        self, checkpoint: Checkpoint, graph: fx.GraphModule, optimizer: torch.optim.Optimizer, average: Average | None
    ) -> tuple[int, int, Running, dict[str, Tensor]]:
        graph.load_state_dict(checkpoint.part("model"))
        restore_optimizer(optimizer, checkpoint.part("optimizer"))
        if average is not None:
            average.restore(checkpoint.part("average"))
        if self._course.objective.extra is not None:
            self._course.objective.extra.load_state_dict(checkpoint.part("extra"))
        state = checkpoint.state
        self._best = Score(**state["best"]) if state["best"] else None
        self._log = list(state["log"])
        self._notes.append(f"went on from epoch {state['epoch'] + 1}, step {state['step']}")
        return state["epoch"], state["step"], Running(**state["running"]), checkpoint.part("best")

    def _say_once(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _chosen_precision(self) -> str:
        if self._plan.precision != "auto":
            return self._plan.precision
        pays = bfloat16_pays(self._model.graph, self._model.spec.input_shape, self._device)
        return "bfloat16" if pays else "float32"

    def _key(self) -> str:
        course = self._course
        sets = (self._images, course.data.validation)
        parts = {
            "model": store.digest(self._model),
            "plan": asdict(self._plan),
            "objective": str(course.objective),
            "constraints": [str(c) for c in self._constraints],
            "teachers": [store.digest(t) for t in course.teachers],
            "taps": [[mine.node, theirs.node] for mine, theirs in course.taps],
            "data": [None if s is None else s.fingerprint() for s in sets],
            "original": None if course.original is None else store.digest(course.original),
            "choose": course.choose,
            "seed": course.seed,
            "versions": [version("pocketlens"), version("torch")],
        }
        if course.simulation is not None:
            parts["simulation"] = str(course.simulation)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _mix(plan: TrainingPlan) -> Mixed | None:
    if not plan.mixup:
        return None
    from torchvision.transforms import v2

    return Mixed(float(v2.MixUp(alpha=plan.mixup, num_classes=1).make_params([])["lam"]))


def _devices(device: torch.device) -> list[int] | int:
    return 1 if device.type == "cpu" else [device.index or 0]


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
