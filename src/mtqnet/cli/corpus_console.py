"""What a person sees of `mtqnet corpus`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mtqnet.cli.terminal import stages
from mtqnet.corpus import describe, ensemble, listen, pictures
from mtqnet.corpus.build import Built, Order, build
from mtqnet.corpus.recordings import read_recordings
from mtqnet.corpus.sources import SPLITS, Split
from mtqnet.corpus.table import read_rows
from mtqnet.corpus.where import parse, select
from mtqnet.errors import UsageError

SHOWN = 14
"""Lines of the table of times; what is left is added up in the last"""
PIPE_WIDTH = 100
"""Characters of a line where output goes into a file"""
SAMPLE_SEED = 1
"""Of the clips on a page"""
TRAIN_SHARE = 0.8
"""Of --clips"""


def build_corpus(order: Order, out: Path, jobs: int, engine: str = "local") -> None:
    """Build with a progress bar; print where the time went, and on stdout the path of the table. Raises MtqnetError."""
    builder: Callable[..., Built] = build
    if engine == "ray":
        from mtqnet.integrations.ray.corpus import build_corpus as build_on_cluster

        builder = build_on_cluster
    console = Console(stderr=True)
    begun = time.monotonic()
    with stages(console) as stage:
        built = builder(order, out, jobs=jobs, progress=lambda done, total: stage("corpus", done, total))
    console.print(times(built))
    minutes = (time.monotonic() - begun) / 60
    console.print(f"{sum(order.clips.values())} clips, this call {minutes:.1f} minutes", highlight=False)
    print(built.table)


def split_counts(clips: int, splits: Sequence[str]) -> dict[Split, int]:
    """Clips of each split: as in `splits` (train=800), else TRAIN_SHARE of `clips` for train, none for unseen2.

    Raises UsageError.
    """
    counts: dict[str, int] = {}
    for text in splits:
        name, _, number = text.partition("=")
        if name not in SPLITS or not number.isdecimal():
            raise UsageError(f"--split {text}: use SPLIT=CLIPS with one of {', '.join(SPLITS)}, such as train=800")
        counts[name] = int(number)
    others = [split for split in SPLITS if split not in ("train", "unseen2")]
    rest = (clips - round(TRAIN_SHARE * clips)) // len(others)
    usual: dict[Split, int] = dict.fromkeys(SPLITS, rest)
    usual["train"], usual["unseen2"] = clips - rest * len(others), 0
    return {split: counts.get(split, number) for split, number in usual.items()}


def times(built: Built) -> Table:
    """Where the time of all processes went, for a terminal."""
    table = Table("what", "seconds", "share", title="Time of all processes")
    total = sum(built.seconds.values()) or 1.0
    lines = list(built.seconds.items())
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN - 1], ("all others", sum(spent for _, spent in lines[SHOWN - 1 :]))]
    for name, spent in lines:
        table.add_row(name, f"{spent:.0f}", f"{spent / total:.0%}")
    return table


def list_kinds() -> None:
    """Print all kinds of processing, with what is missing for each, and how many there are."""
    found = describe.kinds()
    table = Table("kind", "group", "held out in", "missing", box=None, pad_edge=False)
    for kind in found:
        lacking = "; ".join(f"{need.name}: {need.install}" for need in kind.missing)
        table.add_row(kind.name, kind.group, kind.held_out, lacking)
    console = Console()
    console.print(table)
    codecs, suppressors = (sum(kind.group == group for kind in found) for group in ("codec", "suppressor"))
    installed = sum(not kind.missing for kind in found)
    console.print(
        f"{len(found)} kinds of processing, {codecs} codecs and {suppressors} suppressors among them; "
        f"{installed} can be applied here",
        highlight=False,
    )


def describe_corpus(corpus: Path, where: Sequence[str], picture: Path | None) -> None:
    """Print what is in a corpus, and draw it where asked. Raises MtqnetError."""
    rows = select(read_rows(corpus), [parse(text) for text in where])
    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own
        console = Console(width=PIPE_WIDTH)
    for table in describe.tables(describe.describe(rows, read_recordings(corpus))):
        console.print(table)
    console.print(describe.summary(rows), highlight=False)
    if picture is not None:
        pictures.draw(rows, picture)
        print(picture)


def listen_to_corpus(corpus: Path, where: Sequence[str], count: int, output: Path) -> None:
    """Write a page with players for a sample of the clips that fit. Raises MtqnetError."""
    rows = select(read_rows(corpus), [parse(text) for text in where])
    listen.page(corpus, rows, output, count, SAMPLE_SEED, " and ".join(where) or "a sample of all clips")
    print(output)


def add_ensemble(corpus: Path, python: Path, train: int, jobs: int) -> None:
    """Add the label ensemble to a corpus with a progress bar; print the path of the table. Raises MtqnetError."""
    with stages(Console(stderr=True)) as stage:
        table = ensemble.add(corpus, python, jobs, train, lambda done, total: stage("predictors", done, total))
    print(table)
