"""The integer schemes that OpenVINO's CPU kernels can compute, and which a machine should try."""

from collections.abc import Collection

from pocketlens.targets.schemes import SUMS_IN_32_BITS, U8S8, U8S8_7BIT
from pocketlens.types import Scheme

SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (U8S8, U8S8_7BIT)}
"""Its low-precision transformations want unsigned activations and symmetric signed weights, a scale a channel
(docs.openvino.ai, "OpenVINO Low Precision Transformations"). OpenVINO calls the remedy of u8s8_7bit "overflow fix"."""


def likely(instructions: Collection[str]) -> str:
    """The scheme that the instruction set speaks for; the probe confirms or refuses it."""
    return U8S8.name if SUMS_IN_32_BITS & set(instructions) else U8S8_7BIT.name
