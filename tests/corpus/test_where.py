"""Conditions select exactly the matching clips; an error names the known values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtqnet.corpus.table import select
from mtqnet.errors import CorpusError, UsageError

Row = dict[str, Any]


def clip(number: int, split: str, s_mos: float, speaker: str, *steps: Row) -> Row:
    return {
        "id": f"{split}/{number:06d}",
        "split": split,
        "speaker": speaker,
        "scene": "chain",
        "seconds": 4.0,
        "s_mos": s_mos,
        "n_mos": 5.0 - s_mos,
        "steps": [step["step"] for step in steps],
        "recipe": json.dumps({"steps": steps}),
    }


ROWS = [
    clip(0, "train", 1.5, "19", {"step": "Opus", "kbps": 8, "application": "voip"}, {"step": "Playback"}),
    clip(1, "train", 2.0, "19", {"step": "Opus", "kbps": 24, "application": "audio"}),
    clip(2, "test", 4.5, "190", {"step": "Clipping", "drive_db": 3.0, "soft": True}),
    clip(
        3, "test", 3.0, "p2",
        {"step": "Clipping", "drive_db": 9.0, "soft": False},
        {"step": "Clipping", "drive_db": 20.0, "soft": False},
        {"step": "Dropouts", "lengths_ms": [10.0, 90.0]},
        {"step": "RecordedNoise", "file": "noise/cafe.wav", "start": 7, "snr_db": -3.5},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ("s_mos<2", [0]),
        ("s_mos<=2", [0, 1]),
        ("s_mos > 2.5", [2, 3]),
        ("n_mos>=3.0", [0, 1]),
        ("s_mos=4.5", [2]),
        ("s_mos!=4.5", [0, 1, 3]),
        ("split=test", [2, 3]),
        ("split != test", [0, 1]),
        ("speaker=19", [0, 1]),
        ("id=test/000002", [2]),
        ("steps=Opus", [0, 1]),
        ("steps!=Opus", [2, 3]),
        ("Opus.kbps<12", [0]),
        ("Opus.kbps==24", [1]),
        ("Opus.kbps!=24", [0]),
        ("Opus.application=voip", [0]),
        ("Clipping.drive_db>10", [3]),
        ("Clipping.soft=true", [2]),
        ("Clipping.soft=false", [3]),
        ("Dropouts.lengths_ms>50", [3]),
        ("RecordedNoise.file=cafe.wav", [3]),
        ("RecordedNoise.snr_db<-3", [3]),
    ],
)
def test_condition_lets_these_clips_through(text: str, fitting: list[int]) -> None:
    assert select(ROWS, [text]) == [ROWS[number] for number in fitting]


def test_numbers_of_a_csv_are_text_and_compared_as_numbers() -> None:
    assert select([{"s_mos": "9.5"}, {"s_mos": "10"}], ["s_mos<10"]) == [{"s_mos": "9.5"}]


def test_all_conditions_must_hold() -> None:
    assert select(ROWS, ["split=train", "Opus.kbps>9"]) == [ROWS[1]]
    assert select(ROWS, []) == ROWS


@pytest.mark.parametrize("text", ["s_mos", "s_mos<", "__import__('os').getcwd()=1", ""])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no condition.*quotes"):
        select(ROWS, [text])


@pytest.mark.parametrize("text", ["split<test", "Opus.application>voip", "s_mos<low"])
def test_words_have_no_order(text: str) -> None:
    with pytest.raises(UsageError, match="words take = and != only"):
        select(ROWS, [text])


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["s_moss<2"], r"no clip has s_moss. Columns are .*\bs_mos, n_mos\b"),
        (["recipe=x"], r"no clip has recipe"),
        (["Opus.bitrate<12"], r"no clip has Opus.bitrate"),
        (["split=tset"], r"matches split=tset: split is train, test"),
        (["s_mos<1.2"], r"no clip of 4 matches s_mos<1.2: s_mos goes from 1.5 to 4.5"),
        (["steps=Opus", "s_mos>4"], r"no clip of 2 matches s_mos>4: s_mos goes from 1.5 to 2"),
        (["speaker=7"], r"speaker is 19, 190, p2"),
        (["Opus.kbps>30"], r"Opus.kbps goes from 8 to 24"),
        (["steps=Babble"], r"steps is .*Opus"),
        (["Babble.snr_db<3"], r"no clip has Babble.snr_db"),
    ],
)
def test_nothing_left_states_what_there_is(texts: list[str], says: str) -> None:
    with pytest.raises(CorpusError, match=says):
        select(ROWS, texts)


def test_empty_corpus_is_named_as_such() -> None:
    with pytest.raises(CorpusError, match="has no clips"):
        select([], ["s_mos<2"])
