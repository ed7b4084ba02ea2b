"""Scores on a Ray cluster (extra `ray`).

>>> import ray
>>> import mtqnet.integrations.ray
>>> calls = ray.data.read_binary_files("s3://bucket/calls", include_paths=True)  # doctest: +SKIP
>>> mtqnet.integrations.ray.score(calls).write_parquet("s3://bucket/scores")  # doctest: +SKIP
>>> mtqnet.integrations.ray.score_sources(["s3://bucket/calls"], "s3://bucket/scores")  # doctest: +SKIP

`score` adds scores to a dataset of your own pipeline. `score_sources` is `mtqnet score --engine ray`: it reads and
writes by itself, resumes, and scores each recording exactly once.
"""

from mtqnet.integrations.ray.engine import Result, score, score_sources

__all__ = ["Result", "score", "score_sources"]
