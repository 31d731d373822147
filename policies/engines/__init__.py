"""One file an engine: ONNX Runtime, OpenVINO, TensorRT, PyTorch. `policies.engine` chooses among them."""
