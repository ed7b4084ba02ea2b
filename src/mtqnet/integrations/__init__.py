"""Adapters for other libraries: torch, torchmetrics, Ray and the VERSA harness."""
