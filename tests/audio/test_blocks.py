"""Blocks of a file are the file, cut into pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from mtqnet.audio import audio
from mtqnet.audio.audio import Samples
from mtqnet.audio.blocks import BLOCK_S, LongFile, surveyed
from mtqnet.errors import EmptyAudioError, NotFiniteError, UnreadableError

Voice = Callable[..., Samples]
SECONDS = 2.5 * BLOCK_S + 0.123


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_blocks_in_a_row_are_what_read_gives(voice: Voice, tmp_path: Path, rate: int, suffix: str) -> None:
    path = tmp_path / f"two{suffix}"
    left = voice(SECONDS, rate=rate)
    sf.write(path, np.stack([left, 0.3 * np.roll(left, 99)], axis=1), rate)
    blocks = list(LongFile(path, rate).blocks())
    assert len(blocks) > 2
    assert max(map(len, blocks)) <= 2 * BLOCK_S * audio.SAMPLE_RATE
    np.testing.assert_allclose(np.concatenate(blocks), audio.read(path).samples, atol=1e-6)


def test_channels_that_cancel_are_heard_by_the_loudest(voice: Voice, tmp_path: Path) -> None:
    path, samples = tmp_path / "turned.wav", voice(SECONDS)
    sf.write(path, np.stack([-0.97 * samples, samples], axis=1), audio.SAMPLE_RATE)
    file, survey = surveyed(path, audio.SAMPLE_RATE)
    whole = audio.read(path)
    assert whole.channels_cancel
    assert "channels_cancel" in survey.flags
    np.testing.assert_array_equal(np.concatenate(list(file.blocks())), whole.samples)


def test_bad_files_are_refused_as_when_read_whole(voice: Voice, tmp_path: Path) -> None:
    bad = voice(SECONDS)
    bad[[5, 999, 333_333]] = np.nan
    sf.write(tmp_path / "nan.wav", bad, audio.SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(NotFiniteError, match="3 samples"):
        surveyed(tmp_path / "nan.wav", audio.SAMPLE_RATE)
    sf.write(tmp_path / "header.wav", np.zeros(0), audio.SAMPLE_RATE)
    with pytest.raises(EmptyAudioError, match="no samples"):
        surveyed(tmp_path / "header.wav", audio.SAMPLE_RATE)
    (tmp_path / "text.wav").write_text("Dear sir")
    with pytest.raises(UnreadableError, match="not an audio file"):
        surveyed(tmp_path / "text.wav", audio.SAMPLE_RATE)
