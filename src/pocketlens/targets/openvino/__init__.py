"""OpenVINO's CPU plugin, through the ONNX that `targets.onnxruntime` writes. Needs pocketlens[openvino]."""
