"""A trained network for others: one ONNX file, a classifier of mmpretrain, a checkpoint."""
