"""Scores on a Ray cluster: of a dataset (`score`), and of files into tables (`score_sources`).

The cluster is one that runs already, or one on this machine for as long as the work takes (`connected`).

`score_sources` is `mtqnet score --engine ray`: sources -> shards -> Ray Data -> a table for each shard; every
recording once.

Ray Data places the workers, hands out shards, and starts workers and shards again that were lost. What makes the
rows exact is not its business: a shard's table is written whole under the shard's own name (shards.py). So a
shard that is scored twice has one table, and a rerun scores the shards without a table.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from mtqnet import __version__
from mtqnet.errors import MtqnetError, first_line, missing_extra
from mtqnet.integrations.ray import shards
from mtqnet.integrations.ray.shards import Outcome, Plan, Request, part
from mtqnet.integrations.ray.sources import entries
from mtqnet.integrations.ray.store import Folder
from mtqnet.integrations.ray.worker import Job, ModelFiles, RowScorer, Scorer, ShardReport
from mtqnet.scoring import models
from mtqnet.scoring.batch import cores

SHARD_SIZE = 64
"""Recordings of a shard: some seconds of work, lost if a worker dies. docs/scale.md explains when to use more"""
MEMORY_GB = 4.0
"""That a process which scores may have: with base it has 0.4, and a file of any length adds little"""
GIGA = 1 << 30


@dataclass(frozen=True)
class ScaleOptions:
    """How a run is done; what does not change its rows, but for the model and `windows`."""

    model: str = "base"
    address: str | None = None
    """Of a Ray cluster; None: RAY_ADDRESS, or this machine"""
    workers: int = 0
    """0: as many as the cluster has processors for"""
    threads: int = 1
    """Math threads of a worker, and number of processors that it reserves"""
    shard_size: int = SHARD_SIZE
    windows: bool = False
    again: bool = False
    """Score shards again in which some recordings could not be scored"""
    memory_gb: float = MEMORY_GB
    """That a process which scores may have; 0: no limit"""


LOCAL = "local"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
"""Ray reports its use over the network unless this is set; this package opens no connections of its own"""


def need_ray() -> None:
    """Raise MissingExtraError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None:
        raise missing_extra("--engine ray", "ray")


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to the cluster at this address (or RAY_ADDRESS), or to one of this machine that is started
    for the block. One that the process is connected to already is taken as it is.
    """
    need_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    where = address or os.environ.get("RAY_ADDRESS") or LOCAL
    started: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False} if where == LOCAL else {}
    try:
        ray.init(address=where, logging_level=logging.ERROR, log_to_driver=False, **started)
    except Exception as error:  # Ray's own has no kind where a machine is too busy to start it
        raise MtqnetError(f"no Ray cluster at {where} ({error}): start one with `ray start --head`") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def cluster_errors(ray: Any) -> Iterator[None]:
    """What ends the work of a cluster for good -> MtqnetError, its reason first."""
    try:
        yield
    except MtqnetError:
        raise
    except ray.exceptions.RayError as error:
        reason = _reason(error)
        raise MtqnetError(
            f"the cluster failed ({reason}); completed shards are kept, run the command again to resume"
        ) from error


def _reason(error: BaseException) -> str:
    """Return the first line of the original error in the chain that Ray wraps."""
    while inner := getattr(error, "cause", None) or error.__cause__:
        error = inner
    return first_line(error)


def processors(ray: Any) -> int:
    """Of all nodes that live."""
    return int(ray.cluster_resources().get("CPU", 1))


def quiet_data() -> Any:
    """Ray Data without its bars; its module."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own settings
        import ray.data

        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data


BATCH = 16
"""Recordings of a dataset that a worker gets at a time: two seconds of work"""
READERS = 16
"""Tables that are looked into at a time"""
MOST_BLOCKS = 10_000
"""Maximum number of blocks for Ray Data; with more shards, a block has several"""
MANY = 12
"""Shards for each worker from which one of them in a queue is no loss"""
ROUNDS = 2
"""Passes over the shards; the second one repeats failed shards, for example after an error of the store"""
MANIFEST = "_manifest.json"

Advance = Callable[[Outcome, int], None]
"""Called with each shard that is done, and the number of shards in all."""


@dataclass(frozen=True)
class Result:
    """What a run left: all its shards."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    kept: frozenset[int] = field(default=frozenset())
    """Shards that an earlier call had done"""

    @property
    def recordings(self) -> int:
        return sum(one.recordings for one in self.outcomes)

    @property
    def failed(self) -> int:
        return sum(one.failed for one in self.outcomes)


def score(
    dataset: Any, model: str = "base", *, concurrency: int | tuple[int, int] = (1, 1000), threads: int = 1,
    memory_gb: float = MEMORY_GB,
) -> Any:  # fmt: skip
    """Score the recordings of a ray.data.Dataset: a lazy step of a pipeline of your own.

    Recordings are named by a column `file` or `path` (an address, or the name of what is in a column `bytes`), or
    are samples in a column `array` with their `rate` in Hz. Leave some processors to the readers.

    Args:
        dataset: The recordings.
        model: A shipped model, or a path.
        concurrency: Number of workers, or the least and the most; each loads a model.
        threads: Processors that each worker uses.
        memory_gb: Memory limit of a process.

    Returns:
        A dataset of the same rows without `bytes` and `array`, with the columns of `mtqnet score`. Numbers of a
        recording that was not scored are NaN, and `error` has the reason.
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

    Completed shards are not scored again. Uses the cluster that Ray is connected to, or the one that `options`
    names. Raises MtqnetError.
    """
    need_ray()
    options = options or ScaleOptions()
    record = models.find(options.model)
    record.weights()  # what does not load should not cost a cluster
    folder = Folder.of(out)
    request = Request(tuple(sources), record.sha256, __version__, options.windows, options.shard_size)
    plan = shards.plan_for(folder, request, entries(sources))
    kept = _kept(plan, options.again)
    for one in kept:
        advance(one, plan.shards)
    outcomes = {one.shard: one for one in kept}
    left = [shard for shard in range(plan.shards) if shard not in outcomes]
    if left:
        again = frozenset(left) if options.again else frozenset()
        job = Job(plan, model_files(options.model), options.threads, round(options.memory_gb * GIGA), again)
        with connected(options.address) as ray, cluster_errors(ray):
            workers = options.workers or max(1, processors(ray) // options.threads)
            for one in _rounds(job, left, workers):
                outcomes[one.shard] = one
                advance(one, plan.shards)
    result = Result(
        plan, tuple(outcomes[shard] for shard in sorted(outcomes)), frozenset(one.shard for one in kept)
    )
    _settle(result)
    return result


def _rounds(job: Job, shards: Sequence[int], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come. Shards that could not be done are tried again in the end.

    Raises MtqnetError if some are left then.
    """
    problems: dict[int, str] = {}
    for _ in range(ROUNDS):
        left, problems = sorted(problems) or shards, {}
        for report in _run(job, left, min(workers, len(left))):
            if report.outcome is None:
                problems[report.shard] = report.problem
            else:
                yield report.outcome
        if not problems:
            return
    shard, problem = min(problems.items())
    raise MtqnetError(
        f"shards without a table: {len(problems)}, such as {part(shard)} ({problem}); run the command again to resume"
    )


def _run(job: Job, shards: Sequence[int], workers: int) -> Iterator[ShardReport]:
    data = quiet_data()
    blocks = min(len(shards), MOST_BLOCKS)
    scored = data.from_items([{"shard": shard} for shard in shards], override_num_blocks=blocks).map_batches(
        Scorer,
        fn_constructor_args=(job,),
        batch_size=1,
        num_cpus=job.threads,
        compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=_in_flight(blocks, workers)),
    )
    for row in scored.iter_rows():
        yield ShardReport.parse(row)


def _in_flight(blocks: int, workers: int) -> int:
    """Shards that a worker has and waits for. Ray takes 0.1 s to bring the next one, so another should be there;
    but of few shards it would wait in one worker's queue while another worker is idle."""
    return 2 if blocks >= MANY * workers else 1


def _kept(plan: Plan, again: bool) -> list[Outcome]:
    """Outcomes of the shards that have a table."""
    names = frozenset(plan.out.names())
    there = [shard for shard in range(plan.shards) if part(shard) in names]
    with ThreadPoolExecutor(READERS) as threads:
        outcomes: Iterable[Outcome] = threads.map(partial(shards.read_outcome, plan.out), there)
        return [one for one in outcomes if not (again and one.failed)]


def _settle(result: Result) -> None:
    """Check that all shards have tables and write the manifest. Raises MtqnetError."""
    plan, names = result.plan, frozenset(result.plan.out.names())
    missing = [shard for shard in range(plan.shards) if part(shard) not in names]
    if missing or len(result.outcomes) != plan.shards:
        raise MtqnetError(f"{len(missing)} of {plan.shards} shards have no table: run the command again to resume")
    totals: dict[str, Any] = {"recordings": result.recordings, "failed": result.failed}
    record = {
        "request": asdict(plan.request),
        **totals,
        "shards": [{"file": part(one.shard), **asdict(one)} for one in result.outcomes],
    }
    plan.out.write(MANIFEST, (json.dumps(record, indent=1) + "\n").encode())
    plan.out.remove(shards.ATTEMPTS)


def model_files(model: str) -> ModelFiles:
    """A model as it goes to other machines. Raises ModelError."""
    record = models.find(model)
    if record.path.parent == models.WEIGHTS:
        return ModelFiles(record.path.stem)
    return ModelFiles(record.path.name, record.weights(), record.path.with_suffix(".json").read_bytes())
