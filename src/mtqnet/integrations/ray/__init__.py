"""Scores on a Ray cluster (extra `ray`).

>>> import ray
>>> import mtqnet.integrations.ray
>>> calls = ray.data.read_binary_files("s3://bucket/calls", include_paths=True)  # doctest: +SKIP
>>> mtqnet.integrations.ray.score(calls).write_parquet("s3://bucket/scores")  # doctest: +SKIP
>>> mtqnet.integrations.ray.score_sources(["s3://bucket/calls"], "s3://bucket/scores")  # doctest: +SKIP

`score` adds scores to a dataset of your own pipeline. `score_sources` is `mtqnet score --engine ray`: sources -> shards
-> Ray Data -> one table per shard. Ray Data places the workers, distributes the shards, and restarts workers and shards
that were lost. A shard has one table whoever scores it (shards.py), and a rerun scores the shards without a table.

The cluster is the one at RAY_ADDRESS, or one on this machine that runs as long as the work takes (`connected`).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet import __version__
from mtqnet.errors import MtqnetError, UsageError, first_line, missing_extra
from mtqnet.integrations.ray import shards
from mtqnet.integrations.ray.shards import FileScorer, ModelFiles, Outcome, Plan, ShardScorer, part
from mtqnet.integrations.ray.sources import FILE_COLUMNS, Entry, Folder, entries, parse, recordings
from mtqnet.scoring import models
from mtqnet.scoring.batch import cores
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS
from mtqnet.scoring.tables import NUMBERS, Row, cells

__all__ = ["Result", "score", "score_sources"]

LOCAL = "local"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
"""Ray reports its use over the network unless this is set; this package opens no connections of its own"""
BATCH = 16
"""Rows of a dataset that a worker gets at a time: two seconds of work"""
BYTES = "bytes"
"""Column in which ray.data.read_binary_files stores the content of files"""
ARRAY, RATE = "array", "rate"
"""Columns of samples (samples,) or (samples, channels), and of their rate in Hz"""
SHARD_SIZE = 64
"""Recordings of a shard: some seconds of work, lost if a worker dies. docs/scale.md explains when to use more"""
READERS = 16
"""Tables that are read at a time"""
MOST_BLOCKS = 10_000
"""Maximum number of blocks for Ray Data; with more shards, a block has several"""
MANY = 12
"""Shards per worker from which on a worker gets the next shard before it has finished one: Ray takes 0.1 s to bring a
shard, but one of few shards would wait in the queue of one worker while another worker is idle"""
ROUNDS = 2
"""Passes over the shards; the second one repeats failed shards, for example after an error of the store"""
MANIFEST = "_manifest.json"


def need_ray() -> None:
    """Raise MissingExtraError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("--engine ray", "ray")


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster at RAY_ADDRESS, or to one on this machine that is started for the block.

    An existing connection of the process is used.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or LOCAL
    started: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **started)
    except Exception as error:  # Ray has no class for the error that the machine is too busy to start it
        raise MtqnetError(f"no Ray cluster at {address} ({error}): start one with `ray start --head`") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def cluster_errors(ray: Any) -> Iterator[None]:
    """Raise an error that ends the work of the cluster as MtqnetError with its original reason."""
    try:
        yield
    except ray.exceptions.RayError as error:
        reason: BaseException = error
        while inner := getattr(reason, "cause", None) or reason.__cause__:
            reason = inner
        raise MtqnetError(
            f"the cluster failed ({first_line(reason)}); completed shards are kept, run the command again to resume"
        ) from error


def quiet_data() -> Any:
    """The module ray.data, without progress bars."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own settings
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data


def score(dataset: Any, model: str = "base", *, concurrency: int | tuple[int, int] = (1, 1000)) -> Any:
    """Score the recordings of a ray.data.Dataset: a lazy step of a pipeline of your own.

    Recordings are named by a column `file` or `path` (an address, or the name of what is in a column `bytes`), or
    are samples in a column `array` with their `rate` in Hz. Leave some processors to the readers.

    Args:
        dataset: The recordings.
        model: A shipped model, or a path.
        concurrency: Number of workers, or the least and the most; each loads a model.

    Returns:
        A dataset of the same rows without `bytes` and `array`, with the columns of `mtqnet score`. Numbers of a
        recording that was not scored are NaN, and `error` has the reason.
    """
    need_ray()
    data = quiet_data()
    least, most = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    return dataset.map_batches(
        RowScorer,
        fn_constructor_args=(ModelFiles.of(model),),
        batch_size=BATCH,
        num_cpus=1,
        compute=data.ActorPoolStrategy(min_size=least, max_size=most),
    )


class RowScorer:
    """Actor of Ray Data: adds scores to rows. Files are decoded in a separate process (FileScorer)."""

    def __init__(self, model: ModelFiles) -> None:
        self._files = FileScorer(model)
        self._model = model
        self._predictor: Predictor | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        column = next((name for name in FILE_COLUMNS if name in batch), None)
        rows = self._of_arrays(batch, column) if ARRAY in batch else self._of_files(batch, column)
        kept = {name: values for name, values in batch.items() if name not in (*COLUMNS, BYTES, ARRAY)}
        return kept | {name: _column(name, rows) for name in COLUMNS}

    def _of_arrays(self, batch: Mapping[str, Any], column: str | None) -> list[Row]:
        if RATE not in batch:
            raise UsageError(f"a column {ARRAY} needs a column {RATE}, in Hz")
        if self._predictor is None:
            self._predictor = Predictor(self._model.here(), 1, track=False)
        scored = [
            self._predictor.score(np.asarray(samples), float(rate))
            for samples, rate in zip(batch[ARRAY], batch[RATE], strict=True)
        ]
        names = batch[column] if column else [None] * len(scored)
        return [cells(replace(scores, file=name)) for scores, name in zip(scored, names, strict=True)]

    def _of_files(self, batch: Mapping[str, Any], column: str | None) -> list[Row]:
        if column is None:
            raise UsageError(f"no column of files or samples: name one {FILE_COLUMNS[0]}, or {ARRAY} with {RATE}")
        names = [str(name) for name in batch[column]]
        found = [Entry(parse(name).shown, name) for name in names]
        with tempfile.TemporaryDirectory(prefix="mtqnet-") as folder:
            if BYTES in batch:
                paths = [Path(folder, f"{number}{parse(name).suffix}") for number, name in enumerate(names)]
                for path, content in zip(paths, batch[BYTES], strict=True):
                    path.write_bytes(content)
                found = [Entry(name, str(path)) for name, path in zip(names, paths, strict=True)]
            return [cells(self._files.score(item)) for item in recordings(found)]


def _column(name: str, rows: list[Row]) -> Any:
    """A column of scores of one type; missing numbers are NaN."""
    values = [row[name] for row in rows]
    if name in NUMBERS:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else value for value in values], dtype=object)


@dataclass(frozen=True)
class Result:
    """The shards of a run; each has a table."""

    outcomes: tuple[Outcome, ...]
    kept: frozenset[int]
    """Shards that an earlier run scored"""

    @property
    def recordings(self) -> int:
        return sum(one.recordings for one in self.outcomes)

    @property
    def failed(self) -> int:
        """Recordings that have a reason instead of scores."""
        return sum(one.failed for one in self.outcomes)


def score_sources(
    sources: Sequence[str],
    out: str,
    model: str = "base",
    *,
    workers: int = 0,
    shard_size: int = SHARD_SIZE,
    windows: bool = False,
    again: bool = False,
    advance: Callable[[Outcome, int], None] = lambda *_: None,
) -> Result:
    """Score folders, files, lists, addresses and .tar archives into a folder of Parquet tables.

    Completed shards are not scored again. Uses the cluster that Ray is connected to, or the one at RAY_ADDRESS, or
    starts one on this machine.

    Args:
        sources: What is scored; docs/scale.md lists the kinds.
        out: Folder or address of the tables.
        model: A shipped model, or a path.
        workers: Number of workers; 0: one per processor of the cluster.
        shard_size: Recordings per table.
        windows: Whether tables have a row per window.
        again: Whether shards are scored again in which some recordings could not be scored.
        advance: Called with each shard that is done, and the number of shards.

    Raises:
        MtqnetError: The cluster failed, or some shards have no table.
        UsageError: The folder contains something else, or a source contains no recordings.
    """
    need_ray()
    record = models.find(model)
    files = ModelFiles.of(model)
    record.weights()  # a model that does not load is reported before a cluster is started
    request = {
        "sources": list(sources), "model_sha256": record.sha256, "version": __version__, "windows": windows,
        "shard_size": shard_size,
    }  # fmt: skip
    plan = shards.plan_for(Folder.of(out), request, entries(sources))
    outcomes = {one.shard: one for one in _kept(plan) if not (again and one.failed)}
    kept = frozenset(outcomes)
    for one in list(outcomes.values()):
        advance(one, plan.shards)
    left = [shard for shard in range(plan.shards) if shard not in kept]
    if left:
        with connected() as ray, cluster_errors(ray):
            workers = workers or int(ray.cluster_resources().get("CPU", 1))
            scorer = (plan, files, frozenset(left) if again else frozenset())
            for one in _rounds(scorer, left, workers):
                outcomes[one.shard] = one
                advance(one, plan.shards)
    result = Result(tuple(outcomes[shard] for shard in sorted(outcomes)), kept)
    _write_manifest(plan, result)
    return result


def _kept(plan: Plan) -> list[Outcome]:
    """Outcomes of the shards that have a table."""
    names = frozenset(plan.out.names())
    with ThreadPoolExecutor(READERS) as threads:
        done = [shard for shard in range(plan.shards) if part(shard) in names]
        return list(threads.map(partial(shards.read_outcome, plan.out), done))


def _rounds(scorer: tuple[Any, ...], left: Sequence[int], workers: int) -> Iterator[Outcome]:
    """Score shards with several workers; yield outcomes as they come. `scorer`: the arguments of ShardScorer.

    Raises MtqnetError if some shards have no table in the end.
    """
    problems: dict[int, str] = {}
    for _ in range(ROUNDS):
        left, problems = sorted(problems) or left, {}
        for row in score_shards(scorer, left, min(workers, len(left))):
            if row["outcome"]:
                yield Outcome(**json.loads(row["outcome"]))
            else:
                problems[row["shard"]] = row["problem"]
        if not problems:
            return
    shard, problem = min(problems.items())
    raise MtqnetError(
        f"shards without a table: {len(problems)}, such as {part(shard)} ({problem}); run the command again to resume"
    )


def score_shards(scorer: tuple[Any, ...], numbers: Sequence[int], workers: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of ShardScorer."""
    data = quiet_data()
    blocks = min(len(numbers), MOST_BLOCKS)
    in_flight = 2 if blocks >= MANY * workers else 1
    scored = data.from_items([{"shard": shard} for shard in numbers], override_num_blocks=blocks).map_batches(
        ShardScorer,
        fn_constructor_args=scorer,
        batch_size=1,
        num_cpus=1,
        compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=in_flight),
    )
    yield from scored.iter_rows()


def _write_manifest(plan: Plan, result: Result) -> None:
    """Check that all shards have tables and write the manifest. Raises MtqnetError."""
    names = frozenset(plan.out.names())
    missing = [shard for shard in range(plan.shards) if part(shard) not in names]
    if missing:
        raise MtqnetError(f"{len(missing)} of {plan.shards} shards have no table: run the command again to resume")
    manifest = {
        "request": plan.request,
        "recordings": result.recordings,
        "failed": result.failed,
        "shards": [{"file": part(one.shard), **asdict(one)} for one in result.outcomes],
    }
    plan.out.write(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
