"""The integer scheme of LiteRT's CPU kernels."""

from pocketlens.types import IntegerFormat, Scheme

SCHEMES: dict[str, Scheme] = {
    "s8s8": Scheme(
        name="s8s8",
        activation=IntegerFormat(storage="int8", qmin=-128, qmax=127),
        weight=IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0),
        float_output=False,
    ),
}
"""As LiteRT's "8-bit quantization specification" has it: signed activations with a zero point, signed weights of
-127..127 with a scale a channel; the logits lie on a grid too, so that the last layer runs on integers."""
