"""The integer schemes that ONNX Runtime's CPU kernels can compute, and which a machine should try."""

from collections.abc import Collection

from pocketlens.types import IntegerFormat, Scheme

_U8 = IntegerFormat(storage="uint8", qmin=0, qmax=255)

SCHEMES: dict[str, Scheme] = {
    "u8s8": Scheme(
        name="u8s8",
        activation=_U8,
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
    ),
    "u8u8": Scheme(
        name="u8u8",
        activation=_U8,
        weight=IntegerFormat(storage="uint8", qmin=1, qmax=255, zero_point=128),
    ),
    "u8s8_7bit": Scheme(
        name="u8s8_7bit",
        activation=_U8,
        weight=IntegerFormat(storage="int8", qmin=-63, qmax=63, zero_point=0),
    ),
}
"""u8s8: full range, right where products are summed in 32 bits (VNNI, AMX, Arm). u8u8: full range without the 16-bit
saturation of plain AVX2 and AVX-512, one zero point for all. u8s8_7bit: half the range, so that 16 bits hold it."""

_SUMS_IN_32_BITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "neon", "neon_dotprod", "neon_i8mm"})


def likely(instructions: Collection[str]) -> str:
    """The scheme that the instruction set speaks for; the probe confirms or refuses it."""
    return "u8s8" if _SUMS_IN_32_BITS & set(instructions) else "u8u8"
