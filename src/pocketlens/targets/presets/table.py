"""The presets. A newcomer adds one with its pages, and one line to `PRESETS`."""

from pocketlens.errors import UnknownNameError
from pocketlens.targets.form import Form
from pocketlens.targets.presets.preset import Preset, Source
from pocketlens.targets.schemes import U8
from pocketlens.types import IntegerFormat, Scheme

_S8 = IntegerFormat(storage="int8", qmin=-128, qmax=127)
_WEIGHT = IntegerFormat(storage="int8", qmin=-127, qmax=127, zero_point=0)
_MOVES = frozenset({"max_pool", "global_max_pool", "flatten", "dropout", "reshape", "permute", "squeeze", "unsqueeze"})
"""Kinds that only move or choose values, and so keep the grid that comes in."""

TENSORRT = Preset(
    name="tensorrt",
    device="NVIDIA GPU with TensorRT",
    scheme=Scheme(
        name="tensorrt",
        activation=IntegerFormat(storage="int8", qmin=-128, qmax=127, zero_point=0),
        weight=_WEIGHT,
        operators=frozenset({"conv", "conv_transpose", "linear"}),
        fused=frozenset({"relu", "relu6", "add"}),
        output_grids=False,
    ),
    form=Form(bias="float32"),
    sources=(
        Source(
            title="Explicit Quantization, NVIDIA TensorRT documentation",
            url="https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/"
            "quantized-types-explicit-quantization.html",
            says="QuantizeLinear and DequantizeLinear decide the precision; stored int8 weights stand behind a "
            "DequantizeLinear. Placement: quantize what weighted operators read and the residual input of a sum; not "
            "what they give; one scale a tensor for activations, one a channel for weights",
        ),
        Source(
            title="Working with Quantized Types, NVIDIA TensorRT 11.0 documentation",
            url="https://docs.nvidia.com/deeplearning/tensorrt/11.0.0/inference-library/work-quantized-types.html",
            says="integers are signed and symmetric: zero point 0 for activations and weights",
        ),
        Source(
            title="Supported ONNX Operators, ONNX-TensorRT",
            url="https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md",
            says="zero points must be 0; DequantizeLinear takes no int32, so biases stay in floats",
        ),
    ),
)

QNN_HTP = Preset(
    name="qnn-htp",
    device="Qualcomm Hexagon (QNN HTP)",
    scheme=Scheme(
        name="qnn-htp",
        activation=U8,
        weight=_WEIGHT,
        operators=frozenset(
            {
                *("conv", "conv_transpose", "linear", "add", "sub", "mul", "div", "matmul", "cat", "resize"),
                *("relu", "relu6", "leaky_relu", "prelu", "elu", "sigmoid", "tanh", "hardswish", "softmax"),
                *("avg_pool", "global_avg_pool"),
            }
        ),
        shared=_MOVES,
        per_tensor=frozenset({"conv_transpose", "linear"}),
        float_output=False,
    ),
    form=Form(batch=1, whole=True),
    operators=frozenset(
        {
            *("Abs", "Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace"),
            *("DequantizeLinear", "Div", "Elu", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm"),
            *("GlobalAveragePool", "HardSwish", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log"),
            *("LogSoftmax", "LpNormalization", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow", "PRelu"),
            *("QuantizeLinear", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize"),
            *("Sigmoid", "Slice", "Softmax", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Tile"),
            *("Transpose", "Unsqueeze", "Where"),
        }
    ),
    sources=(
        Source(
            title="QNN Execution Provider, ONNX Runtime documentation",
            url="https://onnxruntime.ai/docs/execution-providers/QNN-ExecutionProvider.html",
            says="the HTP backend takes quantized models with fixed shapes and the operators of its list; operators "
            "typically take uint8 or uint16 activations",
        ),
        Source(
            title="get_qnn_qdq_config, ONNX Runtime 1.32",
            url="https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/python/tools/quantization/"
            "execution_providers/qnn/quant_config.py",
            says="int8 weights are symmetric; convolutions may have a scale a channel, matrix products may not",
        ),
    ),
)

EDGETPU = Preset(
    name="edgetpu",
    device="Google Edge TPU (Coral)",
    scheme=Scheme(
        name="edgetpu",
        activation=_S8,
        weight=_WEIGHT,
        operators=frozenset(
            {
                *("conv", "conv_transpose", "linear", "add", "sub", "mul", "relu", "relu6", "global_avg_pool"),
                *("sigmoid", "softmax", "tanh"),
            }
        ),
        shared=_MOVES | {"avg_pool"},
        per_tensor=frozenset({"conv_transpose", "linear"}),
        fixed=frozenset({"sigmoid", "softmax", "tanh"}),
        float_output=False,
    ),
    form=Form(batch=1, whole=True),
    file="tflite",
    operators=frozenset(
        {
            *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS"),
            *("FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL"),
            *("PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1"),
            *("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT"),
            *("SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
        }
    ),
    sources=(
        Source(
            title="TensorFlow models on the Edge TPU, Coral",
            url="https://coral.ai/docs/edgetpu/models-intro/",
            says="all tensors in 8-bit integers, sizes constant, at most the three innermost dimensions larger than "
            "1 (so one image at a time), only operators of its table; the first other one and all behind it run on "
            "the CPU",
        ),
        Source(
            title="LiteRT 8-bit quantization specification",
            url="https://developers.google.com/edge/litert/quantization/quantization_spec",
            says="activations int8 with a zero point; weights -127..127 at zero point 0, a scale a channel for "
            "convolutions and one for a fully connected layer; biases int32 on the scale of the sums; pools and what "
            "moves values keep their input's grid; sigmoid, softmax and tanh have the one grid of their range",
        ),
    ),
)

_ARM_SCHEME = Scheme(name="arm", activation=_S8, weight=_WEIGHT)
_ORT_TYPES = Source(
    title="Quantize ONNX Models, ONNX Runtime documentation",
    url="https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html",
    says="signed activations and weights in QDQ form are the first choice; the 16-bit saturation of AVX2 does not "
    "occur on Arm, so weights use their full range",
)

ARM_DOTPROD = Preset(
    name="arm-dotprod",
    device="Arm CPU with dot product (Armv8.2 and later)",
    scheme=_ARM_SCHEME,
    form=Form(),
    sources=(
        _ORT_TYPES,
        Source(
            title="add s8s8 support for quantized conv and gemm, ONNX Runtime pull request 9902",
            url="https://github.com/microsoft/onnxruntime/pull/9902",
            says="signed by signed runs on the SDOT instruction as it is; unsigned by signed has its weights flipped",
        ),
        Source(
            title="LiteRT 8-bit quantization specification",
            url="https://developers.google.com/edge/litert/quantization/quantization_spec",
            says="XNNPACK's grids under LiteRT are the same: int8 with a zero point, weights -127..127 at 0",
        ),
    ),
)

ARM_I8MM = Preset(
    name="arm-i8mm",
    device="Arm CPU with 8-bit matrix products (Armv8.6 and later)",
    scheme=_ARM_SCHEME,
    form=Form(),
    sources=(
        _ORT_TYPES,
        Source(
            title="MLAS: SVE i8mm int8 QGEMM kernels, ONNX Runtime pull request 31146",
            url="https://github.com/microsoft/onnxruntime/pull/31146",
            says="signed by signed runs on SMMLA, exactly, in NEON and SVE alike",
        ),
    ),
)

APPLE = Preset(
    name="apple",
    device="Apple Neural Engine (Core ML)",
    scheme=None,
    form=Form(batch=1),
    sources=(
        Source(
            title="Typed Execution, Guide to Core ML Tools",
            url="https://apple.github.io/coremltools/docs-guides/source/typed-execution.html",
            says="the Neural Engine computes in 16-bit floats; a model in 32-bit floats is left to GPU and CPU",
        ),
        Source(
            title="Making dynamic input shapes fixed, ONNX Runtime documentation",
            url="https://onnxruntime.ai/docs/tutorials/mobile/helpers/make-dynamic-shape-fixed.html",
            says="the Core ML execution provider wants fixed shapes, batch 1",
        ),
    ),
)

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (APPLE, ARM_DOTPROD, ARM_I8MM, EDGETPU, QNN_HTP, TENSORRT)
}


def load_preset(name: str) -> Preset:
    """A preset by its name. Raises: UnknownNameError listing the valid ones."""
    if name not in PRESETS:
        raise UnknownNameError("scheme", name, PRESETS)
    return PRESETS[name]
