"""Scores and corpora on a Ray cluster (extra `ray`).

>>> import ray
>>> import mtqnet.integrations.ray
>>> calls = ray.data.read_binary_files("s3://bucket/calls", include_paths=True)  # doctest: +SKIP
>>> mtqnet.integrations.ray.score(calls).write_parquet("s3://bucket/scores")  # doctest: +SKIP
>>> mtqnet.integrations.ray.score_sources(["s3://bucket/calls"], "s3://bucket/scores")  # doctest: +SKIP

`score` adds scores to a dataset of your own pipeline. `score_sources` is `mtqnet score --engine ray`: it reads and
writes by itself, resumes, and scores each recording exactly once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtqnet.integrations.ray.engine import Result, ScaleOptions, score, score_sources

__all__ = ["Result", "ScaleOptions", "score", "score_sources"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module("mtqnet.integrations.ray.engine"), name)
