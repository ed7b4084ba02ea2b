"""Scores in a program of your own: a table, a metric, a harness.

    python examples/in_python.py examples/recordings

The folder's recordings as rows for pandas or polars, and the three lines that VERSA and similar harnesses need.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile as sf

import mtqnet
from mtqnet.integrations.harness import Harness
from mtqnet.scoring import batch


def main(folder: Path) -> None:
    """Print what each recording's scores are, what is worst, by two ways to the same number."""
    paths = batch.find(folder)
    predictor = mtqnet.load("base")
    scored = []
    for path, scores in zip(paths, predictor.score_files(paths), strict=True):
        if scores.g_mos is None:  # silent, too short, no audio: a reason, never a number
            print(f"{path.name}: {scores.error}")
        else:
            scored.append((scores.g_mos, path, " ".join(scores.flags)))
    # [{"file": str(path), "g_mos": value} for value, path, _ in scored] is what pandas and polars take
    value, path, flags = min(scored)
    print(f"{len(scored)} recordings, worst {path.name} with G-MOS {value:.2f} {flags}")

    samples, rate = sf.read(path)
    quality = Harness("base")
    print(f"the same by a harness: {quality(samples, rate)['mtqnet_g_mos']:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
