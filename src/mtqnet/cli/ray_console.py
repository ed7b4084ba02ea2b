"""What a person sees of `mtqnet score --engine ray` and `mtqnet corpus build --engine ray`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mtqnet.cli.score_run import Tally
from mtqnet.cli.terminal import stages, tell
from mtqnet.errors import UsageError
from mtqnet.integrations.ray import engine
from mtqnet.integrations.ray.cluster import ScaleOptions

if TYPE_CHECKING:
    from mtqnet.corpus.build import Order

TABLES = (".csv", ".jsonl")
"""What --output may end in for the plain command, and means a file"""


def score_sources(sources: Sequence[str], output: str | None, options: ScaleOptions, quiet: bool) -> int:
    """Score sources on a cluster; a bar on the way, a summary in the end.

    Returns the exit code of the plain command. Raises MtqnetError.
    """
    if output is None or output.lower().endswith(TABLES):
        raise UsageError("--engine ray writes a folder of Parquet tables: name it with --output")
    if "-" in sources:
        raise UsageError("a stream has one listener: leave --engine ray out")
    console = Console(stderr=True, quiet=quiet)
    with stages(console) as stage:
        done = itertools.count(1)
        result = engine.score(sources, output, options, lambda _, shards: stage("shards", next(done), shards))
    tally = Tally()
    for one in result.outcomes:
        tally.failed += one.failed
        good = one.recordings - one.failed
        tally.scored += 0 if one.shard in result.kept else good
        tally.kept += good if one.shard in result.kept else 0
    if not quiet:
        tell(tally.summary(output), style="yellow" if tally.failed else "green")
    return tally.exit_code


def build_on_cluster(order: Order, out: Path, jobs: int) -> None:
    """Build a corpus on a cluster; the output is that of the local build. Raises MtqnetError."""
    from mtqnet.cli.corpus_console import times
    from mtqnet.integrations.ray.corpus import build_corpus

    console = Console(stderr=True)
    begun = time.monotonic()
    with stages(console) as stage:
        built = build_corpus(order, out, jobs=jobs, progress=lambda done, total: stage("corpus", done, total))
    console.print(times(built))
    minutes = (time.monotonic() - begun) / 60
    console.print(f"{sum(order.clips.values())} clips, this call {minutes:.1f} minutes", highlight=False)
    print(built.table)
