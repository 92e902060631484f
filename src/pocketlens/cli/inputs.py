"""From the words of a command line to models, images and targets."""

from pathlib import Path
from typing import Literal

from pocketlens.errors import ConfigError, DataError
from pocketlens.types import Data, ImageSet, Model, Target

VALIDATION_IMAGES = 500
"""At most so many of the images left over from calibration judge the stages."""


def load_model(
    name: str,
    weights: Path | None,
    classes: Path | None,
    data: Path | None = None,
    preprocessing: str | None = None,
) -> Model:
    """The canonical graph of what the user named.

    Args:
        name: see `pocketlens.models.sources`.
        weights: a checkpoint, or None for what the source carries.
        classes: a text file with one class name a line, in output order.
        data: where class names are looked for when the model brings none: its class folders, sorted.
        preprocessing: for .onnx and .pt2 files, see `pocketlens.models.stated`.
    """
    from dataclasses import replace

    from pocketlens.models import sources

    names = read_classes(classes) if classes else None
    model = sources.load(name, weights=weights, classes=names, preprocessing=preprocessing)
    if not model.spec.class_ids and data is not None:
        from pocketlens.datasets.folder import class_folders

        train = data / "train"
        names = class_folders(train if train.is_dir() else data)
        outputs = sources.outputs_of(model)
        if len(names) == outputs:
            model = replace(model, spec=replace(model.spec, class_ids=names, labels=names))
    return model


def load_teacher(name: str, student: Model) -> Model:
    """A teacher, which answers in the student's classes.

    Args:
        name: a model as in `load_model`, or NAME=WEIGHTS.
        student: whose class names it takes over when it has none.
    """
    from dataclasses import replace

    from pocketlens.models import sources

    source, _, weights = name.partition("=")
    teacher = sources.load(source, weights=Path(weights) if weights else None)
    if not teacher.spec.class_ids:
        named = replace(teacher.spec, class_ids=student.spec.class_ids, labels=student.spec.labels)
        teacher = replace(teacher, spec=named)
    return teacher


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names, one a line, empty lines ignored."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read class names from {path}: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names):
        raise DataError(f"{path} names a class twice; each line must be a class of its own")
    return names


def load_data(
    model: Model, data: Path | None, calibration: str | None, test: str | None, calibration_images: int | None = None
) -> Data:
    """The splits for a squeeze: what was given, completed from one another, else the built-in sample.

    Args:
        model: whose classes label the folders.
        data: `--data`.
        calibration: `--calibration`.
        test: `--test`.
        calibration_images: at most so many, spread evenly over the calibration set; None takes all.
    """
    from dataclasses import replace

    from pocketlens.datasets import splits
    from pocketlens.datasets.choose import left_over, spread_evenly

    ids, labels = model.spec.class_ids, model.spec.labels

    def load(spec: str, part: Literal["calibration", "validation", "test"]) -> ImageSet:
        return splits.load(spec, ids, labels, part=part)

    found = splits.load_data(data, ids, labels) if data is not None else Data()
    if calibration is not None:
        found = replace(found, calibration=load(calibration, "calibration"))
    if test is not None:
        found = replace(found, test=load(test, "test"))
    if found.calibration is None:
        found = replace(found, calibration=load("sample", "calibration"))
    assert found.calibration is not None
    rest = left_over(found.calibration, calibration_images) if calibration_images is not None else None
    if calibration_images is not None:
        found = replace(found, calibration=spread_evenly(found.calibration, calibration_images))
    if found.validation is None:
        # Given only calibration images, stage figures come from those left over, else from the same: a guide, while
        # the final ones read `test`.
        own = spread_evenly(rest, VALIDATION_IMAGES) if rest is not None else found.calibration
        given = calibration is not None or data is not None
        found = replace(found, validation=own if given else load("sample", "validation"))
    if found.test is None:
        found = replace(
            found, test=load("sample", "test") if data is None and calibration is None else found.validation
        )
    return found


def load_target(name: str) -> Target:
    """The runtime by its name."""
    from pocketlens.targets import load_target as load

    return load(name)


def load_device(scheme: str, target: str = "onnxruntime") -> Target:
    """A device that is elsewhere, by the name of its preset; files for it are ONNX, whatever its tools make of them."""
    from pocketlens.errors import UsageError
    from pocketlens.targets.presets.simulated import Simulated
    from pocketlens.targets.presets.table import load_preset

    preset = load_preset(scheme)
    if target != "onnxruntime":
        raise UsageError(f"--scheme {scheme} is of a device, --target {target} of a runtime here: give one of them")
    return Simulated(preset=preset)


def load_targets(names: str) -> list[Target]:
    """Runtimes from words like onnxruntime,openvino. Raises ConfigError where one stands twice."""
    wanted = [name.strip() for name in names.split(",")]
    if len(set(wanted)) != len(wanted):
        raise ConfigError(f"--target names a runtime twice: {names!r}")
    return [load_target(name) for name in wanted]


def read_threads(text: str) -> tuple[int, ...]:
    """Thread counts from words like 1,2. Raises ConfigError."""
    try:
        threads = tuple(int(part) for part in text.split(","))
    except ValueError:
        threads = ()
    if not threads or min(threads) < 1 or len(set(threads)) != len(threads):
        raise ConfigError(f"--threads must be different counts of 1 or more, like 1,2; got {text!r}")
    return threads
