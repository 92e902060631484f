"""Operators that no canonical graph can hold, each with its way out."""

QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"),
        *("ConvInteger", "MatMulInteger", "QLinearAdd", "QLinearMul", "QLinearGlobalAveragePool", "QGemm"),
    }
)

_CUT = "cut the graph before it with onnx.utils.extract_model"
_FIXED = "export the model with torch.onnx.export(..., dynamo=True) for a fixed image size, where it unrolls"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero", "Unique"), _CUT),
    **dict.fromkeys(("If", "Loop", "Scan"), _FIXED),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent layers have no place in it: use a convolutional network"),
    "LogSoftmax": "a classifier must give logits: export it without its last LogSoftmax",
    "Einsum": "write it as matmul and permute in the model",
    "GridSample": "it has no kernel on phones: resize or pool there instead",
    "LRN": "replace local response norm by batch norm and train it again",
}
