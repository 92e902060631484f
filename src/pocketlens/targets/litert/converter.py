"""How litert-torch 0.10 is made to take our numbers, and to keep channels last throughout."""

from typing import Any

import torch
from litert_torch._convert.fx_passes.optimize_layout_transposes_pass import layout_rewrite
from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
from litert_torch.quantize.quant_config import QuantConfig
from torch import fx


def integer_config() -> Any:
    """Tells the converter that the graph holds its grids already: it folds them into int8 operators.

    Without it the quantizers stay operators of their own: a file of float weights, 9 times slower.
    """
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
    return QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(config))


@layout_rewrite.rewriters.register(torch.ops.aten.constant_pad_nd.default)
def _pad_channels_last(node: fx.Node) -> None:
    """Padding counts dimensions from the last: rewrite it from (n, c, h, w) to (n, h, w, c).

    litert-torch knows no such rule, so it transposes before and after a pad; between integers these transposes stay,
    and the pad cannot become part of the convolution.
    """
    x, padding, *rest = node.args
    assert isinstance(padding, list | tuple)
    whole = [*padding, *[0] * (8 - len(padding))]
    node.args = (x, [*whole[4:6], *whole[:4], *whole[6:]], *rest)
