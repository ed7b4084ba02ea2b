"""Score the recordings of WebDataset shards without unpacking them: pip install mtqnet webdataset."""

from __future__ import annotations

from collections.abc import Iterator

import webdataset as wds

import mtqnet

SUFFIXES = "flac;wav;mp3;ogg"


def scores(shards: str | list[str], model: str = "small") -> Iterator[tuple[str, mtqnet.Scores]]:
    """Yield the key of each sample and its scores."""
    predictor = mtqnet.load(model)
    for key, content in wds.WebDataset(shards, shardshuffle=False).to_tuple("__key__", SUFFIXES):
        yield key, predictor.score(content)


if __name__ == "__main__":
    import sys

    for key, scored in scores(sys.argv[1]):
        print(key, scored.g_mos, scored.error or "")
