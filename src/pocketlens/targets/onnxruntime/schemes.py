"""The integer schemes that ONNX Runtime's CPU kernels can compute, and which a machine should try."""

from collections.abc import Collection

from pocketlens.targets.schemes import SUMS_IN_32_BITS, U8, U8S8, U8S8_7BIT
from pocketlens.types import IntegerFormat, Scheme

U8U8 = Scheme(
    name="u8u8",
    activation=U8,
    weight=IntegerFormat(storage="uint8", qmin=1, qmax=255, zero_point=128),
)
"""Full range without the 16-bit saturation of plain AVX2 and AVX-512, one zero point for all."""

SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (U8S8, U8U8, U8S8_7BIT)}


def likely(instructions: Collection[str]) -> str:
    """The scheme that the instruction set speaks for; the probe confirms or refuses it."""
    return U8S8.name if SUMS_IN_32_BITS & set(instructions) else U8U8.name
