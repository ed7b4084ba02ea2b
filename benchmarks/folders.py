"""A folder of recordings: how fast it is scored, and whether its table is the same to the last byte."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import clips
from measures import Plan, Row, Scorer, ours, timed

TURNS = 3
"""Of which the median is taken"""
PEERS_PART = 5
"""Peers score every fifth recording: all of them take ten minutes."""


def folder(scorers: Sequence[Scorer], plan: Plan) -> Iterator[Row]:
    """From start to end: ours with --jobs, the peers as so many processes that share the files."""
    paths = clips.many(plan.folder, plan.many)
    for scorer in scorers:
        if scorer.kind == "mtqnet":
            yield from _ours(scorer, paths, plan)
    some = paths[::PEERS_PART]
    for cores in plan.cores:
        for scorer in scorers:
            if scorer.kind not in ("mtqnet", "floor"):
                seconds = timed([scorer.command(1, some[place::cores]) for place in range(cores)], cores)
                yield _row(scorer, cores, paths, clips.seconds_of(some) / seconds)


def _ours(scorer: Scorer, paths: Sequence[Path], plan: Plan) -> Iterator[Row]:
    """So many cores in turn, and what their tables have in common."""
    taken: dict[int, list[float]] = {cores: [] for cores in plan.cores}
    digests: dict[int, set[str]] = {cores: set() for cores in plan.cores}
    for _ in range(TURNS):
        for cores in plan.cores:
            with tempfile.TemporaryDirectory() as kept:
                table = Path(kept) / "scores.csv"
                options = ["--quiet", "--jobs", str(cores), "-o", str(table)]
                taken[cores].append(timed([[*ours(scorer), str(paths[0].parent), *options]], cores))
                digests[cores].add(hashlib.sha256(table.read_bytes()).hexdigest())
    audio_s = clips.seconds_of(paths)
    for cores, seconds in taken.items():
        yield _row(scorer, cores, paths, audio_s / median(seconds))
    for cores, found in digests.items():
        yield Row("same bytes", scorer.name, cores, f"{TURNS} runs", len(found), "tables")
    yield Row("same bytes", scorer.name, 0, "any jobs", len(set().union(*digests.values())), "tables")


def _row(scorer: Scorer, cores: int, paths: Sequence[Path], rate: float) -> Row:
    return Row("folder", scorer.name, cores, f"{len(paths)} files", rate, "s/s")
