"""How images become a model's input, stated by the user: an .onnx or .pt2 file does not say it."""

from dataclasses import dataclass
from pathlib import Path

from pocketlens.bundle.parse import parse
from pocketlens.bundle.spec_json import preprocessing_from_json
from pocketlens.errors import BundleError, ConfigError
from pocketlens.types import Preprocessing

PRESETS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "inception": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "bytes": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Conventions by name: (mean, std) in pixel units. The short side is resized to 256/224 of the input, bilinear."""

_MEANINGS = (
    "imagenet (ImageNet's mean and deviation), inception (-1..1), unit (0..1), bytes (0..255), or a JSON file "
    "(docs/models.md)"
)


@dataclass(frozen=True, kw_only=True)
class StatedPreprocessing:
    """What was stated: all of it, or a convention whose size the model may decide.

    Args:
        whole: from a JSON file; None for a convention.
        preset: a key of PRESETS; ignored when `whole` is given.
        side: of a square input, px; None takes the model's.
    """

    whole: Preprocessing | None = None
    preset: str = "imagenet"
    side: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the input, None when the model decides."""
        if self.whole is not None:
            return self.whole.crop
        return None if self.side is None else (self.side, self.side)

    def complete(self, height: int, width: int) -> Preprocessing:
        """The preprocessing for an input of this size."""
        if self.whole is not None:
            return self.whole
        mean, std = PRESETS[self.preset]
        square = height == width
        return Preprocessing(
            resize=round(height * 256 / 224) if square else None,
            crop=(height, width),
            interpolation="bilinear",
            mean=mean,
            std=std,
        )


def stated_preprocessing(path: Path, given: str | None) -> StatedPreprocessing | None:
    """What the user says about the model at `path`.

    Args:
        path: of the model; MODEL.json beside it is read when nothing is given.
        given: a key of PRESETS, with `:SIZE` or without, or the path of a JSON file; None for nothing.
    Returns: None when nothing is said anywhere.
    Raises: ConfigError naming what is wrong.
    """
    if given is None:
        beside = path.with_suffix(".json")
        return StatedPreprocessing(whole=_from_file(beside)) if beside.is_file() else None
    name, _, side = given.partition(":")
    if name in PRESETS:
        if side and not (side.isascii() and side.isdigit() and 1 <= int(side) <= 4096):
            raise ConfigError(f"--preprocessing {name}:SIZE needs a size of 1 to 4096 px, got {side!r}")
        return StatedPreprocessing(preset=name, side=int(side) if side else None)
    if Path(given).suffix == ".json":
        return StatedPreprocessing(whole=_from_file(Path(given)))
    raise ConfigError(f"--preprocessing must be {_MEANINGS}; got {given!r}")


def missing_preprocessing(path: Path) -> ConfigError:
    """The error for a model about which nothing is said."""
    return ConfigError(
        f"{path} does not say how images become its input; give --preprocessing as it was trained: {_MEANINGS}; or "
        f"put that file beside it as {path.with_suffix('.json').name}"
    )


def _from_file(path: Path) -> Preprocessing:
    try:
        return preprocessing_from_json(parse(path.read_bytes()), "preprocessing")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except BundleError as error:
        raise ConfigError(f"{path} {error}; docs/models.md shows what it must hold") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}; docs/models.md shows what it must hold") from error
