"""pocketlens train: a pretrained backbone to one's own classes."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    model: Annotated[
        str, typer.Argument(help="A pretrained backbone: efficientnet_lite0, timm:NAME, torchvision:NAME.")
    ],
    data: Annotated[Path, typer.Option(help="A folder with train/, val/, test/, or with class folders to be split.")],
    out: Annotated[
        Path | None, typer.Option(help="The stored graph to write, for squeeze. [default: FOLDER.graph]")
    ] = None,
    epochs: Annotated[int, typer.Option(help="For the layers behind the head; 0 trains the head alone.", min=0)] = 8,
    freeze: Annotated[float, typer.Option(help="Share of the layers, from the input, that stay as they are.")] = 0.3,
    learning_rate: Annotated[float, typer.Option(help="Of those layers, at its highest.")] = 0.01,
    batch_size: Annotated[int, typer.Option(help="Images a step.", min=2)] = 32,
    augment: Annotated[str, typer.Option(help="none, shift, crop or randaugment.")] = "crop",
    weights: Annotated[Path | None, typer.Option(help="A checkpoint for the backbone, or the word random.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Train at this size, px. [default: the backbone's]")] = None,
    seed: Annotated[int, typer.Option(help="Makes the run repeatable.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing model.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from a run that was interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, all else on stderr.")] = False,
) -> None:
    """Teach a pretrained backbone your own classes: the head on cached features, then more layers at a smaller rate."""
    import shutil
    import time

    from pocketlens.cli import inputs
    from pocketlens.cli.console import Console
    from pocketlens.cli.training import classes_of, resized, score_on_test
    from pocketlens.datasets.splits import load_data
    from pocketlens.errors import OutputError
    from pocketlens.models import store
    from pocketlens.squeeze.output import skipped_notes
    from pocketlens.training.plan import TrainingPlan
    from pocketlens.training.transfer import transfer

    start = time.perf_counter()
    console = Console(as_json)
    destination = out or Path(f"{data.resolve().name}.graph")
    if destination.exists() and not force:
        raise OutputError(f"{destination} exists; pass --force to write over it, or another --out")
    if not destination.parent.is_dir():
        raise OutputError(f"the folder {destination.parent} does not exist; make it, or name another --out")
    plan = TrainingPlan(
        epochs=max(epochs, 1),
        batch_size=batch_size,
        learning_rate=learning_rate,
        augment=augment,  # pyright: ignore[reportArgumentType] the plan checks it
        freeze=freeze,
        batchnorm="frozen",
        label_smoothing=0.1,
        weight_decay=1e-4,
        warmup=0.1,
        ema=0.99,
    )
    class_ids = classes_of(data)
    backbone = resized(inputs.load_model(model, weights, None), input_size)
    splits = load_data(data, class_ids, class_ids, seed=seed)
    if splits.validation is None:
        console.say("one image a class: all of them teach, none is left to choose the best epoch by")
    work = destination.with_name(f".{destination.name}.training")
    if fresh:
        shutil.rmtree(work, ignore_errors=True)
    result = transfer(
        backbone,
        class_ids,
        splits,
        plan if epochs else None,
        work=work,
        seed=seed,
        progress=console.progress,
        say=console.say,
    )
    # What the loop could not read it names itself; the features saw those images too, so each is said once.
    own = [note for note in result.trained.notes if "could not be read" not in note] if result.trained else []
    for note in (*own, *skipped_notes(splits)):
        console.say(note)
    store.save(result.model, destination)
    log = work / "log.jsonl"
    if log.is_file():
        shutil.copyfile(log, destination / "training.jsonl")
    shutil.rmtree(work, ignore_errors=True)
    figures = score_on_test(result.model, splits, console)
    best = result.trained.best if result.trained else None
    validation = max((v for v in (best and best.value, result.head_score) if v is not None), default=None)
    console.say(
        f"model {destination}   {len(class_ids)} classes"
        + ("" if validation is None else f"   validation {validation:.1%}")
        + ("" if figures is None else f"   test {figures['top1']:.1%} of {figures['n']}")
    )
    console.say(f"next: pocketlens squeeze {destination} --data {data} --recipe fast")
    console.finish(
        {
            "model": str(destination),
            "classes": list(class_ids),
            "head_validation_top1": result.head_score,
            "validation_top1": validation,
            "test": figures,
            "epochs": list(result.trained.log) if result.trained else [],
            "precision": result.trained.precision if result.trained else None,
            "notes": list(result.trained.notes) if result.trained else [],
            "seed": seed,
            "seconds": time.perf_counter() - start,
        }
    )
