"""Spectral augmentation: offsets on log-mel that correspond to a filter and keep labels and bandwidth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tiny
import torch
from numpy.typing import NDArray

from mtqnet.audio.features import log_mel
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.device import handset_db
from mtqnet.errors import UsageError
from mtqnet.labels import speech
from mtqnet.targets import KEYS
from mtqnet.training import batches as augment
from mtqnet.training.batches import Dataset, training_batches
from mtqnet.training.config import FitConfig
from mtqnet.training.features import Clip

Samples = NDArray[np.float32]


def log_mel_only(clips: int = 12) -> Dataset:
    data = tiny.dataset(tiny.CHANNEL, clips)
    return Dataset([Clip(c.samples, {"logmel": c.features["logmel"]}) for c in data.clips], data.labels)


def filtered(samples: Samples, modified: bool) -> Samples:
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE).astype(np.float64)
    response = 10 ** (handset_db(hertz, modified, False) / 20)
    return np.fft.irfft(np.fft.rfft(samples) * response, len(samples)).astype(np.float32)


def batch_of(*clips: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    views = [torch.from_numpy(log_mel(clip)) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(views, batch_first=True), torch.tensor([len(clip) for clip in clips])


def test_offset_corresponds_to_the_filter() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 5 * SAMPLE_RATE).astype(np.float32)
    seen = 10 * (log_mel(filtered(noise, True)) - log_mel(noise)).mean(axis=0)
    told = handset_db(augment.band_hz(), True, False)
    gentle = (augment.band_hz() > 300) & (augment.band_hz() < 5000)  # a steep slope leaks within a band
    np.testing.assert_allclose(seen[gentle], told[gentle], atol=1.0)


def test_each_clip_has_one_response_and_keeps_its_labels() -> None:
    data = log_mel_only()
    plain, other = (
        list(training_batches(data, KEYS, FitConfig(batch=4, level_db=0, augment=c), np.random.default_rng(3)))
        for c in (0.0, 1.0)
    )
    before, after = plain[0], other[0]
    torch.testing.assert_close(before.labels, after.labels, equal_nan=True)
    rows = int(before.samples[0]) // 160
    shift = (after.inputs["logmel"] - before.inputs["logmel"])[0, :rows]
    above = (after.inputs["logmel"][0, :rows] > -9.9).all(dim=0)
    assert float(shift[:, above].std(dim=0).max()) < 1e-4, "the same in every frame"
    assert float(shift[0, above].std()) > 0.05, "and not in every band"


def test_probability_is_the_fraction_of_augmented_clips() -> None:
    wide, narrow = augment.random_offsets(4000, 0.3, np.random.default_rng(0))
    for levels in (wide, narrow):
        assert np.any(levels != 0, axis=1).mean() == pytest.approx(0.3, abs=0.03)
    never, _ = augment.random_offsets(50, 0.0, np.random.default_rng(0))
    assert not never.any()


def test_narrowband_is_detected_as_for_the_labels(talker: Callable[..., Samples]) -> None:
    wide = talker()
    clips = (wide, speech.narrowed(wide)[: len(wide) // 2])  # the second is padded
    told = augment.is_narrow(*batch_of(*clips))
    assert told.tolist() == [speech.is_narrow(clip) for clip in clips] == [False, True]


def test_augmentation_does_not_change_the_bandwidth(talker: Callable[..., Samples]) -> None:
    wide = talker()
    logmel, samples = batch_of(*[wide, speech.narrowed(wide)] * 20)
    after = augment.random_response(logmel, samples, 1.0, np.random.default_rng(5))
    assert augment.is_narrow(after, samples).tolist() == [False, True] * 20


def test_clips_with_encoder_frames_are_refused() -> None:
    with pytest.raises(UsageError, match="encoder"):
        next(
            training_batches(tiny.dataset(tiny.CHANNEL, 4), KEYS, FitConfig(augment=0.5), np.random.default_rng(0))
        )


def test_silence_is_not_changed() -> None:
    logmel, samples = torch.full((2, 50, 80), -10.0), torch.tensor([8000, 8000])
    assert float(augment.random_response(logmel, samples, 1.0, np.random.default_rng(1)).min()) == -10.0
