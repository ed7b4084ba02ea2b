"""From samples to scores, with onnxruntime. Nothing in here imports torch."""
