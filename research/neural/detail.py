"""How much the enhancer generates: speech low-pass filtered at 3.5 kHz, and its level from 4.5 to 7.5 kHz afterwards.

    python -m research.neural.detail --speech DIR --noise DIR

Prints the level of that band relative to the unfiltered speech in dB, mean over speakers of the corpus' test split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import active_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus import sources as pools
from mtqnet.corpus.degradations.neural_suppressors import QUALITIES, NeuralEnhancer
from research.neural.data import low_passed

EDGE_HZ = 3500.0
BAND_HZ = (4500.0, 7500.0)
SECONDS = 6.0
LEVEL_DBOV = -26.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, action="append", required=True, help="folder of speech; repeatable")
    parser.add_argument("--noise", type=Path, action="append", required=True, help="folder of noise; repeatable")
    parser.add_argument("--clips", type=int, default=8, help="speakers, one clip of each (default %(default)s)")
    options = parser.parse_args()
    source = pools.pools(pools.Sources(tuple(options.speech), tuple(options.noise)), 0, ["test"])["test"]
    first = {item.group: item for item in reversed(source.speech)}
    rows = []
    for speaker in sorted(first)[: options.clips]:
        clean = pools.load(first[speaker].path)[: round(SECONDS * SAMPLE_RATE)]
        clean = clean * np.float32(10 ** ((LEVEL_DBOV - active_level(clean)) / 20))
        filtered = low_passed(clean, EDGE_HZ)
        made = [filtered, *(NeuralEnhancer(quality, 1.0, 1).process(filtered) for quality in QUALITIES)]
        rows.append([band_level(samples) - band_level(clean) for samples in made])
    for name, mean in zip(("input", *QUALITIES), np.mean(rows, axis=0), strict=True):
        print(f"{name}: {mean:.1f} dB")


def band_level(samples: NDArray[np.float32]) -> float:
    """Energy in BAND_HZ, in dB."""
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(10 * np.log10(power[(hertz > BAND_HZ[0]) & (hertz < BAND_HZ[1])].sum() + 1e-12))


if __name__ == "__main__":
    main()
