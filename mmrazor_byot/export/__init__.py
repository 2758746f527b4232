"""Export to ONNX, to mmpretrain, and to a checkpoint for publishing."""
