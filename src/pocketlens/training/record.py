"""What a pass that trained has to say."""

from dataclasses import asdict

from pocketlens.training.course import Trained
from pocketlens.training.plan import TrainingPlan
from pocketlens.types import Record


def training_record(plan: TrainingPlan, trained: Trained, images: int, seconds: float) -> Record:
    """One line an epoch in `layers`; the run as a whole in `summary`.

    Args:
        plan: the pass, whose class gives the record its name.
        trained: what came of it.
        images: how many it learned from.
        seconds: how long it took.
    """
    last = trained.log[-1]
    summary = {
        "epochs": len(trained.log),
        "images": images,
        "loss": last["loss"],
        "precision": trained.precision,
        "images_per_second": last["images_per_second"],
    }
    if trained.best is not None:
        summary[f"validation_{trained.best.kind}"] = trained.best.value
    return Record(
        name=type(plan).__name__,
        config=asdict(plan),
        summary=summary,
        layers=tuple({"layer": f"epoch {line['epoch']}", **line} for line in trained.log),
        notes=trained.notes,
        seconds=seconds,
    )
