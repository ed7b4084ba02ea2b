"""Scores on a Ray cluster.

>>> import ray
>>> import mtqnet.integrations.ray.datasets
>>> calls = ray.data.read_binary_files("s3://bucket/calls", include_paths=True)  # doctest: +SKIP
>>> mtqnet.integrations.ray.datasets.score(calls).write_parquet("s3://bucket/scores")  # doctest: +SKIP
>>> mtqnet.integrations.ray.datasets.score_sources(["s3://bucket/calls"], "s3://bucket/scores")  # doctest: +SKIP

`score` is a step of a pipeline of your own: lazy, and as safe as that pipeline. `score_sources` is `mtqnet score
--engine ray`: it reads and writes itself, goes on where it was, and has each recording exactly once. Needs
mtqnet[ray].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mtqnet.integrations.ray.cluster import GIGA, MEMORY_GB, ScaleOptions, need_ray, quiet_data
from mtqnet.integrations.ray.engine import Advance, Result, model_files
from mtqnet.integrations.ray.engine import score as _score
from mtqnet.integrations.ray.worker import RowScorer

BATCH = 16
"""Recordings that a worker gets at a time: two seconds of work"""

__all__ = ["Result", "ScaleOptions", "score", "score_sources"]


def score(
    dataset: Any, model: str = "base", *, concurrency: int | tuple[int, int] = (1, 1000), threads: int = 1,
    memory_gb: float = MEMORY_GB,
) -> Any:  # fmt: skip
    """A ray.data.Dataset of recordings -> the same rows with their scores, as in the tables of `mtqnet score`.

    Recordings are named by a column `file` or `path` (an address, or the name of what is in a column `bytes`), or
    are samples in a column `array` with their `rate` in Hz. `bytes` and `array` are left out of what comes back. A
    recording that cannot be scored has a reason in `error`; missing numbers are NaN. `concurrency` is how many
    workers, or the least and the most; each loads a model and uses `threads` processors. Leave some processors to the
    readers.
    """
    need_ray()
    data = quiet_data()
    least, most = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    return dataset.map_batches(
        RowScorer,
        fn_constructor_args=(model_files(model), threads, round(memory_gb * GIGA)),
        batch_size=BATCH,
        num_cpus=threads,
        compute=data.ActorPoolStrategy(min_size=least, max_size=most),
    )


def score_sources(
    sources: Sequence[str], out: str, options: ScaleOptions | None = None, advance: Advance = lambda *_: None
) -> Result:
    """Score folders, files, manifests, addresses and .tar shards into a folder of Parquet tables.

    Shards that are complete in `out` are not scored again. Uses the cluster that Ray is connected to, or the one that
    the options name. Raises MtqnetError.
    """
    return _score(sources, out, options or ScaleOptions(), advance)
