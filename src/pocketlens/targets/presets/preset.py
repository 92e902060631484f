"""What a maker documents about a device, as data."""

from dataclasses import dataclass, field
from typing import Literal

from pocketlens.errors import ConfigError
from pocketlens.targets.form import Form
from pocketlens.types import Scheme


@dataclass(frozen=True, kw_only=True)
class Source:
    """A page that a preset follows.

    Args:
        title: of the page.
        url: its address.
        says: what of it the preset takes, in our words.
    """

    title: str
    url: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A scheme for a device that is elsewhere, and what else must hold of a file that it is to run.

    Args:
        name: what `--scheme` takes.
        device: for people.
        scheme: how it computes with integers; None for a device that is given 16-bit floats.
        form: how the file is written.
        file: the format that its tools read.
        operators: what a file of that format may hold, by the format's own names; empty allows all.
        sources: the pages, the one that decides first.
    """

    name: str
    device: str
    scheme: Scheme | None
    form: Form
    file: Literal["onnx", "tflite"] = "onnx"
    operators: frozenset[str] = field(default=frozenset())
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError(f"the preset {self.name} must cite a page")
        if self.scheme is None and self.form.whole:
            raise ConfigError(f"the preset {self.name} wants integers throughout, but has no scheme for them")

    @property
    def graph(self) -> str:
        """The graph of a bundle that is made for the device."""
        return "half" if self.scheme is None else "int8"

    def asks(self) -> str:
        """What a file must be, in a line for people."""
        form = self.form
        parts = ["16-bit floats"] if self.scheme is None else [_integers(self.scheme)]
        if form.bias == "float32":
            parts.append("biases in floats")
        if form.whole:
            parts.append("every operator in integers")
        if form.batch is not None:
            parts.append(f"shapes fixed, batch {form.batch}")
        if self.operators:
            parts.append(f"{len(self.operators)} operators")
        return ", ".join(parts)


def _integers(scheme: Scheme) -> str:
    activation, weight = scheme.activation, scheme.weight
    zero = "any zero point" if activation.zero_point is None else f"zero point {activation.zero_point}"
    each = "a channel" if scheme.granularity == "per_channel" else "a tensor"
    one = " (linear layers: one)" if "linear" in scheme.per_tensor and each == "a channel" else ""
    return (
        f"activations {activation.storage}, {zero}; weights {weight.storage} {weight.qmin}..{weight.qmax} at "
        f"{weight.zero_point}, a scale {each}{one}"
    )
