"""Integer schemes that more than one runtime computes, and the instruction sets that speak for them."""

from pocketlens.types import IntegerFormat, Scheme

U8 = IntegerFormat(storage="uint8", qmin=0, qmax=255)

U8S8 = Scheme(
    name="u8s8",
    activation=U8,
    weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
)
"""Full range, right where products are summed in 32 bits."""

U8S8_7BIT = Scheme(
    name="u8s8_7bit",
    activation=U8,
    weight=IntegerFormat(storage="int8", qmin=-63, qmax=63, zero_point=0),
)
"""Half the range, so that sums of two products fit 16 bits."""

SUMS_IN_32_BITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "neon", "neon_dotprod", "neon_i8mm"})
"""Instruction sets whose 8-bit products do not saturate."""
