"""What a split may draw from, and how recordings are read and looped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.sources import SHARES, Item, Pool, Sources, Split, load, looped, pick, pools
from mtqnet.errors import CorpusError

Samples = NDArray[np.float32]


@pytest.mark.parametrize("part", ["speech", "noise", "rooms"])
def test_splits_share_no_speaker_noise_or_room(part: str, split_pools: dict[Split, Pool]) -> None:
    groups = [{item.group for item in getattr(split_pools[split], part)} for split in SHARES]
    assert sum(map(len, groups)) == len(set.union(*groups)) > 0


def test_short_recordings_are_no_references(material: Any, tmp_path: Path, voice: Callable[..., Samples]) -> None:
    sf.write(tmp_path / "100-1-0000.wav", voice(1.9), SAMPLE_RATE)
    made = pools(Sources((material.speech, tmp_path), (material.noise,)), 0)
    assert not [item for pool in made.values() for item in pool.speech if item.seconds < 2]


def test_too_few_speakers_are_refused(material: Any, tmp_path: Path, voice: Callable[..., Samples]) -> None:
    sf.write(tmp_path / "100-1-0000.wav", voice(3.0), SAMPLE_RATE)
    with pytest.raises(CorpusError, match="there are 1 speakers and 6 noise files"):
        pools(Sources((tmp_path,), (material.noise,)), 0)


def test_no_speaker_drowns_the_others() -> None:
    items = [Item(f"a{n}.wav", "a", 4.0) for n in range(99)] + [Item("b.wav", "b", 4.0)]
    rng = np.random.default_rng(0)
    drawn = Counter(pick(items, rng).group for _ in range(1_000))
    assert drawn["b"] == pytest.approx(500, abs=80)


def test_loop_goes_round_without_a_click(tmp_path: Path) -> None:
    file = tmp_path / "tone.wav"
    sf.write(file, 0.5 * np.sin(2 * np.pi * 100 * np.arange(8_000) / SAMPLE_RATE), SAMPLE_RATE, "FLOAT")
    round_twice = looped(str(file), 3_000, 20_000)
    assert len(round_twice) == 20_000
    np.testing.assert_array_equal(round_twice[:4_000], load(str(file))[3_000:7_000])
    steepest = 0.5 * 2 * np.pi * 100 / SAMPLE_RATE
    assert np.abs(np.diff(round_twice)).max() < 3 * steepest


def test_loop_begins_elsewhere_where_the_recording_is_silent(tmp_path: Path) -> None:
    file = tmp_path / "late.wav"
    noise = np.random.default_rng(0).standard_normal(8_000) / 10
    sf.write(file, np.concatenate([noise, np.zeros(40_000)]), SAMPLE_RATE)
    assert looped(str(file), 20_000, 10_000).any()


def test_recordings_cannot_be_changed_by_one_clip_for_the_next(material: Any) -> None:
    file = next(material.noise.iterdir())
    with pytest.raises(ValueError, match="read-only"):
        load(str(file))[0] = 1.0
