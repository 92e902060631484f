"""Which ONNX operator is built by what."""

from pocketlens.models.onnx import layers
from pocketlens.models.onnx.activations import ACTIVATIONS
from pocketlens.models.onnx.arithmetic import ARITHMETIC
from pocketlens.models.onnx.operator import Builder
from pocketlens.models.onnx.pooling import POOLING
from pocketlens.models.onnx.shapes import SHAPES

LAYERS: dict[str, Builder] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_norm,
    "InstanceNormalization": layers.instance_norm,
    "GroupNormalization": layers.group_norm,
    "LayerNormalization": layers.layer_norm,
}

OPERATORS: dict[str, Builder] = {**LAYERS, **ACTIVATIONS, **ARITHMETIC, **POOLING, **SHAPES}
"""Operators that an activation may flow through; what has constant inputs only is folded, see `folding`."""
