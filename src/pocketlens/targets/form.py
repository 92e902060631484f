"""What a device asks of a file beyond the numbers in it."""

from dataclasses import dataclass
from typing import Literal

from pocketlens.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a lowering writes a model; the defaults suit the runtimes on this machine.

    Args:
        bias: how integer layers keep their biases: "int32" on the scale of the layer's sums, or "float32".
        batch: images an inference takes, fixed in the file; None leaves that open.
        whole: whether every operator must compute in integers, so that no output may be taken ahead of its grid.
    """

    bias: Literal["int32", "float32"] = "int32"
    batch: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if self.bias not in ("int32", "float32"):
            raise ConfigError(f"`bias` must be int32 or float32, got {self.bias!r}")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"`batch` must be at least 1, got {self.batch}")


DEFAULT = Form()
