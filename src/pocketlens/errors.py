"""The exceptions a user of pocketlens can meet.

    PocketlensError                what every error below is; the CLI prints it as one line
    ├── UsageError                 the call itself is wrong (CLI exit code 2)
    │   ├── ConfigError            a field of a pass, scheme or plan is out of its range
    │   ├── UnknownNameError       a name that no table holds; lists the valid ones
    │   └── RecipeError            passes in an order that cannot work, or a malformed recipe file
    ├── DataError                  a folder, file or split of images cannot serve
    │   └── ImageError             one image cannot be decoded (sets skip and count these)
    ├── ModelError                 a model cannot be brought in
    │   ├── UnsupportedModelError  it holds what the canonical graph cannot express
    │   └── WeightsError           a checkpoint does not fit, is unsafe, or holds NaN
    ├── PassError                  a pass failed; names it and its place in the recipe
    ├── TargetError                a runtime cannot lower or run a model
    ├── BundleError                a bundle or gallery is corrupt, unsafe, from the future, or does not fit the other
    ├── ServeError                 a site cannot be served (port taken, no address, no certificate)
    └── OutputError                the result cannot be written (exists, no space, no permission)

A message has three parts: what was expected, what came, how to mend it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PocketlensError(Exception):
    """What every pocketlens error is; `exit_code` is what the CLI ends with."""

    exit_code = 1


class UsageError(PocketlensError):
    """The call itself is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """A field of a pass, scheme or plan is out of its range."""


class UnknownNameError(UsageError):
    """A name that no table holds.

    Args:
        kind: what the name should have been, for example "recipe".
        name: the name that came.
        valid: the names that would have done.
    """

    def __init__(self, kind: str, name: str, valid: Iterable[str]) -> None:
        known = sorted(valid)
        close = get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Valid: {', '.join(known)}")


class RecipeError(UsageError):
    """Passes in an order that cannot work, or a malformed recipe file."""


class DataError(PocketlensError):
    """A folder, file or split of images cannot serve."""


class ImageError(DataError):
    """One image cannot be decoded."""


class ModelError(PocketlensError):
    """A model cannot be brought in."""


class UnsupportedModelError(ModelError):
    """A model holds what the canonical graph cannot express."""


class WeightsError(ModelError):
    """A checkpoint does not fit, is unsafe to read, or holds NaN."""


class PassError(PocketlensError):
    """A pass failed inside a recipe."""


class TargetError(PocketlensError):
    """A runtime cannot lower or run a model."""


class BundleError(PocketlensError):
    """A bundle or gallery is corrupt, unsafe, written by a newer pocketlens, or does not fit the other."""


class ServeError(PocketlensError):
    """A site cannot be served."""


class OutputError(PocketlensError):
    """The result cannot be written."""
