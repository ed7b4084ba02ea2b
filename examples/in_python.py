"""Scores in a program of your own: a table of recordings, and a metric for an evaluation toolkit.

    python examples/in_python.py examples/recordings

Prints the worst recording of the folder, and computes the same score as the evaluation toolkit VERSA and similar
toolkits call it. `Results.to_frame` returns a data frame of pandas or polars.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile as sf

import mtqnet
from mtqnet.integrations.harness import Harness
from mtqnet.scoring import batch


def main(folder: Path) -> None:
    """Print the number of recordings and the worst one, then the score of the worst one by `Harness`."""
    paths = batch.find(folder)
    predictor = mtqnet.load("base")
    scored = []
    for path, scores in zip(paths, predictor.score_files(paths), strict=True):
        if scores.g_mos is None:  # silent, too short, no audio: `error` has the reason
            print(f"{path.name}: {scores.error}")
        else:
            scored.append((scores.g_mos, path, " ".join(scores.flags)))
    # for a table: `predictor.score_files(paths).to_frame()`
    value, path, flags = min(scored)
    print(f"{len(scored)} recordings, worst {path.name} with G-MOS {value:.2f} {flags}")

    samples, rate = sf.read(path)
    quality = Harness("base")
    print(f"the same by Harness: {quality(samples, rate)['mtqnet_g_mos']:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
