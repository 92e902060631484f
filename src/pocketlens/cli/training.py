"""What `train` needs beside the training itself."""

from pathlib import Path

from pocketlens.cli.console import Console
from pocketlens.errors import DataError
from pocketlens.types import Data, Json, Model


def classes_of(data: Path) -> tuple[str, ...]:
    """The class folders of a dataset, sorted: those of train/ where it is there. Raises DataError."""
    from pocketlens.datasets.folder import SPLIT_NAMES, class_folders

    train = next((data / name for name in SPLIT_NAMES["train"] if (data / name).is_dir()), data)
    names = class_folders(train)
    if len(names) < 2:
        raise DataError(f"expected one folder a class in {train}, at least 2, got {len(names)}; see docs/training.md")
    return names


def resized(model: Model, size: int | None) -> Model:
    """The model for another input size; None leaves it."""
    if size is None:
        return model
    from pocketlens.passes.set_input_size import SetInputSize
    from pocketlens.types import Context

    return SetInputSize(size=size)(model, Context(data=Data(), original=model, work=Path())).model


def score_on_test(model: Model, data: Data, console: Console) -> Json | None:
    """Accuracy of the exported file on the test images, or None where there are none."""
    if data.test is None or not data.test.labelled:
        return None
    import tempfile

    from pocketlens.measure import fidelity
    from pocketlens.targets import load_target

    target = load_target("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="pocketlens-") as scratch:
        artifact = target.lower(model, "fp32", Path(scratch))
        (figures,) = fidelity([artifact], target=target, images=data.test, progress=console.progress)
    return {key: figures[key] for key in ("n", "n_labelled", "top1", "top5", "skipped")}
