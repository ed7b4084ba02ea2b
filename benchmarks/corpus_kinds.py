"""CPU time of each kind of processing in a corpus, in ms for each second of audio.

    python benchmarks/corpus_kinds.py --speech FOLDER --noise FOLDER [--clips 4] [--output kinds.csv]

Each kind is drawn and applied to the same clips of 4 s at 15 dB SNR, after one call that loads its tool. The time is
that of this process and of the programs it starts, so that other load on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS, generative
from mtqnet.corpus.degradations.noise import ColouredNoise
from mtqnet.corpus.degradations.step import start
from mtqnet.corpus.describe import kinds
from mtqnet.corpus.sources import Pool, Sources, load, pools

SECONDS = 4.0
"""Length of a clip"""
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s() -> float:
    """CPU seconds of this process, of programs that have ended, and of the Opus decoder that has not."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + _decoder_s()


def _decoder_s() -> float:
    if not generative._decoder.cache_info().currsize:
        return 0.0
    fields = Path(f"/proc/{generative._decoder().pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(pool: Pool, clips: int) -> list[dict[str, str]]:
    """A row for each kind that can be applied here."""
    samples = round(SECONDS * SAMPLE_RATE)
    long = [item for item in pool.speech if item.seconds > SECONDS + 0.5][:clips]
    given = [ColouredNoise(3.0, 15.0, 1)(start(np.array(load(item.path)[:samples]))) for item in long]
    rows = []
    for kind in kinds():
        if kind.missing or kind.name == "Splice":
            continue
        rng = np.random.default_rng(1)
        drawn = [STEPS[kind.name].draw(rng, pool, samples) for _ in range(len(given) + 1)]
        drawn[-1](given[0])
        begun = cpu_s()
        for step, tracks in zip(drawn, given, strict=False):
            step(tracks)
        spent = 1000 * (cpu_s() - begun) / (SECONDS * len(given))
        rows.append({"kind": kind.name, "group": kind.group, "ms_per_s": f"{spent:.1f}"})
        print(f"{kind.name:20} {kind.group:10} {spent:8.1f}", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True)
    parser.add_argument("--rooms", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("kinds.csv"))
    options = parser.parse_args()
    pool = pools(Sources((options.speech,), (options.noise,), (options.rooms,)), 0, ["train"])["train"]
    rows = measure(pool, options.clips)
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
