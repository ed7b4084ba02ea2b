"""What a person sees of `mtqnet corpus build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mtqnet.bars import stages
from mtqnet.corpus.build import Order, build
from mtqnet.corpus.pool import Sources
from mtqnet.corpus.sources import SPLITS


def build_corpus(
    speech: Sequence[Path],
    noise: Sequence[Path],
    rooms: Sequence[Path],
    clips: Mapping[str, int],
    seeds: tuple[int, int],
    out: Path,
    jobs: int,
) -> None:
    """Build with a bar, and print where the table is. `seeds`: of the clips, of the split. Raises MtqnetError."""
    sources = Sources(tuple(speech), tuple(noise), tuple(rooms))
    order = Order(sources, {split: clips[split] for split in SPLITS}, *seeds)
    with stages(Console(stderr=True)) as stage:
        table = build(order, out, jobs=jobs, progress=lambda done, total: stage("corpus", done, total))
    print(table)
