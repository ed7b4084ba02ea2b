"""Scoring of recordings with onnxruntime. No module of this package imports torch."""
