"""Add scores to a dataset of Hugging Face: pip install mtqnet datasets.

`map` caches its result and can use several processes, because a predictor can be pickled.
"""

from __future__ import annotations

from typing import Any

from datasets import Audio, Dataset

import mtqnet

predictor = mtqnet.load("small", threads=1)


def add_scores(row: dict[str, Any]) -> dict[str, Any]:
    """Score the file of a row: its bytes, or its path."""
    scores = predictor.score(row["audio"]["bytes"] or row["audio"]["path"])
    return {"s_mos": scores.s_mos, "n_mos": scores.n_mos, "g_mos": scores.g_mos, "error": scores.error}


def scored(files: list[str], processes: int = 1) -> Dataset:
    """Return a dataset with the columns audio, s_mos, n_mos, g_mos and error."""
    dataset = Dataset.from_dict({"audio": files}).cast_column("audio", Audio(decode=False))
    return dataset.map(add_scores, num_proc=processes)


if __name__ == "__main__":
    import sys

    print(scored(sys.argv[1:]).filter(lambda row: row["error"] is None).sort("g_mos").to_pandas())
