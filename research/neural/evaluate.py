"""Measure exported checkpoints on speakers and noise files of the corpus' test split, which no training used.

    python -m research.neural.evaluate --speech DIR --noise DIR --out runs/neural-evaluation [--peers PYTHON]

The vocoder resynthesises clean speech; the enhancer processes speech in noise at 0, 5, 10 and 15 dB SNR. Each
row of OUT/clips.csv is one clip after one kind of processing, with PESQ-WB, STOI and SDI against the clean
speech, the scores of the shipped model `base`, and, with --peers, those of DNSMOS and Distill-MOS.
OUT/summary.csv has the means.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet import load
from mtqnet.audio.level import active_level
from mtqnet.audio.reading import Excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import sources as pools
from mtqnet.corpus.degradations import generative, neural_suppressors
from mtqnet.corpus.degradations.generative import NeuralVocoder, Resynthesis
from mtqnet.corpus.degradations.neural_suppressors import NeuralEnhancer
from mtqnet.corpus.sources import Item
from mtqnet.labels.intrusive import objective

Samples = NDArray[np.float32]

SECONDS = 6.0
LEVEL_DBOV = -26.0
SNRS_DB = (0, 5, 10, 15)
BASE = ("s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est")
GRIFFIN_LIM = Resynthesis(bands=80, step_db=0.0, smear=1, fine=0.7, phase=0.4, rounds=16, seed=1)
"""The existing step of the corpus, for comparison"""


@dataclass(frozen=True)
class Clip:
    kind: str
    """`vocoder` or `enhancer`"""
    condition: str
    """SNR in dB of the input, `clean` for the vocoder"""
    quality: str
    """Checkpoint, or `input`"""
    speaker: str
    clean: Samples
    samples: Samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", required=True, help="folder of speech; repeatable")
    parser.add_argument("--noise", type=Path, action="append", required=True, help="folder of noise; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of sounds and tables")
    parser.add_argument("--clips", type=int, default=19, help="speakers, one clip of each (default %(default)s)")
    parser.add_argument("--only", choices=["vocoder", "enhancer"], help="one of the two networks")
    parser.add_argument("--peers", type=Path, help="Python that has speechmos and distillmos (make peers)")
    options = parser.parse_args()
    source = pools.pools(pools.Sources(tuple(options.speech), tuple(options.noise)), 0, ["test"])["test"]
    clips = list(_clips(source, options.clips, options.only))
    (options.out / "audio").mkdir(parents=True, exist_ok=True)
    base = load("base", threads=1)
    rows, paths = [], []
    for clip in clips:
        path = options.out / "audio" / f"{clip.kind}-{clip.condition}-{clip.quality}-{clip.speaker}.wav"
        sf.write(path, clip.samples, SAMPLE_RATE, subtype="FLOAT")
        paths.append(path)
        predicted = base.score(clip.samples, SAMPLE_RATE)
        row: dict[str, str | float] = {
            "kind": clip.kind,
            "condition": clip.condition,
            "quality": clip.quality,
            "speaker": clip.speaker,
        }
        measured = objective(clip.clean, clip.samples)
        row.update(pesq=measured.pesq, stoi=measured.stoi, sdi=measured.sdi)
        row.update({name: getattr(predicted, name) for name in BASE})
        rows.append(row)
    if options.peers:
        from mtqnet.corpus.ensemble import score

        excerpts = [Excerpt(path) for path in paths]
        columns = score(options.peers, excerpts, options.out / "peers", "clips", 1, lambda *_: None)
        for index, row in enumerate(rows):
            row.update({name: float(values[index]) for name, values in columns.items()})
    _write(options.out / "clips.csv", rows)
    means = _means(rows)
    _write(options.out / "summary.csv", means)
    for mean in means:
        print(" ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in mean.values()))


def _clips(source: pools.Pool, count: int, only: str | None) -> Iterator[Clip]:
    """The first recording of each speaker, as it is and after each processing."""
    speakers: dict[str, Item] = {}
    for item in source.speech:
        speakers.setdefault(item.group, item)
    for speaker, item in list(speakers.items())[:count]:
        clean = pools.load(item.path)[: round(SECONDS * SAMPLE_RATE)]
        clean = clean * np.float32(10 ** ((LEVEL_DBOV - active_level(clean)) / 20))
        if only != "enhancer":
            yield Clip("vocoder", "clean", "input", speaker, clean, clean)
            yield Clip("vocoder", "clean", "griffin-lim", speaker, clean, GRIFFIN_LIM.process(clean))
            for quality in generative.QUALITIES:
                made = NeuralVocoder(quality, 0.0, 1).process(clean)
                yield Clip("vocoder", "clean", quality, speaker, clean, made)
        if only != "vocoder":
            for snr in SNRS_DB:
                noisy = clean + _noise(source, speaker, len(clean), LEVEL_DBOV - snr)
                yield Clip("enhancer", str(snr), "input", speaker, clean, noisy)
                for quality in neural_suppressors.QUALITIES:
                    made = NeuralEnhancer(quality, 1.0, 1).process(noisy)
                    yield Clip("enhancer", str(snr), quality, speaker, clean, made)


def _noise(source: pools.Pool, speaker: str, length: int, level_db: float) -> Samples:
    """A stretch of a noise file that the speaker's name determines, the same at every SNR."""
    rng = np.random.default_rng(zlib.crc32(speaker.encode()))
    noise = pools.looped(source.noise[int(rng.integers(len(source.noise)))].path, 0, length)
    return noise * np.float32(10 ** (level_db / 20) / np.sqrt(np.mean(np.square(noise)) + 1e-20))


def _means(rows: list[dict[str, str | float]]) -> list[dict[str, str | float]]:
    """One row for each kind, condition and quality: number of clips and mean of each column of numbers."""
    groups: dict[tuple[str, ...], list[dict[str, str | float]]] = {}
    for row in rows:
        groups.setdefault((str(row["kind"]), str(row["condition"]), str(row["quality"])), []).append(row)
    means: list[dict[str, str | float]] = []
    for (kind, condition, quality), members in groups.items():
        names = [name for name, value in members[0].items() if isinstance(value, float)]
        averages = {name: float(np.mean([float(member[name]) for member in members])) for name in names}
        means.append(
            {"kind": kind, "condition": condition, "quality": quality, "clips": str(len(members)), **averages}
        )
    return means


def _write(path: Path, rows: list[dict[str, str | float]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
