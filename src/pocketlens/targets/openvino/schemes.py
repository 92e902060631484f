"""The integer schemes that OpenVINO's CPU kernels can compute, and which a machine should try."""

from collections.abc import Collection

from pocketlens.types import IntegerFormat, Scheme

_U8 = IntegerFormat(storage="uint8", qmin=0, qmax=255)

SCHEMES: dict[str, Scheme] = {
    "u8s8": Scheme(
        name="u8s8",
        activation=_U8,
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    ),
    "u8s8_7bit": Scheme(
        name="u8s8_7bit",
        activation=_U8,
        weight=IntegerFormat(storage="int8", qmin=-63, qmax=63, zero_point=0),
    ),
}
"""Its low-precision transformations want unsigned activations and symmetric signed weights, a scale a channel
(docs.openvino.ai, "OpenVINO Low Precision Transformations"). u8s8_7bit: half the range, for processors whose 8-bit
products saturate in 16 bits; OpenVINO calls the same remedy "overflow fix"."""

_SUMS_IN_32_BITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "neon", "neon_dotprod", "neon_i8mm"})


def likely(instructions: Collection[str]) -> str:
    """The scheme that the instruction set speaks for; the probe confirms or refuses it."""
    return "u8s8" if _SUMS_IN_32_BITS & set(instructions) else "u8s8_7bit"
