"""What a person sees of `mtqnet score --engine ray`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.console import Console

from mtqnet.cli.score_run import Tally
from mtqnet.cli.terminal import stages, tell
from mtqnet.errors import UsageError
from mtqnet.integrations.ray import engine
from mtqnet.integrations.ray.cluster import ScaleOptions

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
