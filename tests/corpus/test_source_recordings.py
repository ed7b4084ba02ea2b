"""recordings.csv and the use of recordings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtqnet.corpus.build import write_recordings
from mtqnet.corpus.describe import count_part, read_recordings
from mtqnet.corpus.sources import Item, Pool

SPEECH = (
    Item("a.flac", "anna", 10.0, "de"),
    Item("b.flac", "crowd", 10.0, "fr-ca", speakers=50, split="train"),
)
EMPTY = Pool((), (), ())
NOISE = (Item("n.flac", "n", 30.0), Item("m.flac", "m", 90.0))


def row(speech: str, start: int, samples: int, *noise: str) -> dict[str, str]:
    steps = [{"step": "RecordedNoise", "file": file, "start": 0, "snr_db": 5.0} for file in noise]
    recipe = {"speech": speech, "start": start, "samples": samples, "steps": steps}
    return {"recipe": json.dumps(recipe), "seconds": "1", "speaker": speech}


def test_use_of_recordings(tmp_path: Path) -> None:
    pool = Pool(SPEECH, NOISE, ())
    write_recordings({"train": pool, "validation": EMPTY, "test": EMPTY, "unseen": pool}, tmp_path)
    recordings = read_recordings(tmp_path)
    assert len(recordings) == 4 and recordings["b.flac"]["speakers"] == "50"
    second = 16_000
    rows = [
        row("a.flac", 0, 4 * second, "n.flac"),
        row("a.flac", 2 * second, 4 * second, "n.flac", "m.flac"),
        row("b.flac", 0, 6 * second),
    ]
    use = count_part("all", rows, recordings)
    assert (use.sentences, use.languages, use.unlabelled, use.noises) == (2, ("de", "fr"), 50, 2)
    assert use.speech_minutes == pytest.approx(12 / 60)  # the stretches of a.flac overlap
    assert use.noise_minutes == 2.0
    assert (use.clips_per_sentence, use.clips_per_noise) == (2, 2)


def test_a_corpus_without_the_table_has_no_minutes_of_noise(tmp_path: Path) -> None:
    assert read_recordings(tmp_path) == {}
    use = count_part("all", [row("a.flac", 0, 16_000, "n.flac")], {})
    assert (use.noise_minutes, use.languages, use.clips_per_noise) == (None, (), 1)


def test_noise_inside_a_splice_is_counted() -> None:
    inner = {"step": "RecordedNoise", "file": "n.flac", "start": 0, "snr_db": 5.0}
    recipe = {"speech": "a.flac", "start": 0, "samples": 9, "steps": [{"step": "Splice", "steps": [inner]}]}
    clip = {"recipe": json.dumps(recipe), "seconds": "1", "speaker": "anna"}
    assert count_part("all", [clip], {}).noises == 1
