"""The sinc filter bank: band-passes in the order of their bands, on time, at any length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.training.sinc import FILTERS, LENGTH, MIN_BAND_HZ, MIN_LOW_HZ, SincBank


@pytest.fixture(scope="module")
def bank() -> SincBank:
    return SincBank().eval().requires_grad_(False)


def edges(bank: SincBank) -> tuple[torch.Tensor, torch.Tensor]:
    low = bank.low_hz.abs() * SAMPLE_RATE + MIN_LOW_HZ
    return low, low + bank.band_hz.abs() * SAMPLE_RATE + MIN_BAND_HZ


def response(bank: SincBank) -> torch.Tensor:
    """(257, 8001) magnitude at every hertz."""
    spectra: torch.Tensor = torch.fft.rfft(bank.filters()[:, 0], SAMPLE_RATE)
    return spectra.abs()


def test_two_numbers_a_filter_are_learnt(bank: SincBank) -> None:
    assert sum(p.numel() for p in SincBank().parameters() if p.requires_grad) == 2 * FILTERS == 514
    assert bank.filters().shape == (FILTERS, 1, LENGTH)


def test_filters_are_those_of_the_paper(bank: SincBank) -> None:
    """As released: difference of two low-passes, |edge| + 50 Hz and |band| + 50 Hz, Hamming, over its maximum."""
    time = (np.arange(LENGTH) - LENGTH // 2) / SAMPLE_RATE
    low = np.abs(bank.low_hz.double().numpy())[:, None] * SAMPLE_RATE + 50
    high = low + np.abs(bank.band_hz.double().numpy())[:, None] * SAMPLE_RATE + 50
    shape = (2 * high * np.sinc(2 * high * time) - 2 * low * np.sinc(2 * low * time)) * np.hamming(LENGTH)
    expected = shape / shape.max(axis=1, keepdims=True)
    np.testing.assert_allclose(bank.filters()[:, 0].numpy(), expected, atol=1e-3)


def test_every_filter_is_loudest_within_its_edges(bank: SincBank) -> None:
    low, high = edges(bank)
    peak = response(bank).argmax(dim=1)
    assert bool(((peak >= low - 1) & (peak <= high + 1)).all())


def test_filters_stop_what_is_far_from_their_band(bank: SincBank) -> None:
    low, high = edges(bank)
    gains = response(bank)
    hertz = torch.arange(gains.shape[1])
    margin = 2 * SAMPLE_RATE / LENGTH  # half of a Hamming window's main lobe
    outside = (hertz < low[:, None] - margin) | (hertz > high[:, None] + margin)
    worst = (gains * outside).amax(dim=1) / gains.amax(dim=1)
    assert float(worst.max()) < 0.02


def test_bands_rise_in_equal_steps_of_mel(bank: SincBank) -> None:
    low, _ = edges(bank)
    first = low[1:] - MIN_LOW_HZ  # the centre of the filter before
    mel = 2595 * torch.log10(1 + first / 700)
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    assert float(mel[0]) == pytest.approx(80, abs=0.1)
    steps = torch.full((FILTERS - 2,), (top - 80) / (FILTERS - 1))
    torch.testing.assert_close(mel.diff(), steps, rtol=1e-2, atol=0)


def test_each_filter_has_a_maximum_of_one(bank: SincBank) -> None:
    torch.testing.assert_close(bank.filters().amax(dim=2), torch.ones(FILTERS, 1))


@pytest.mark.parametrize("samples", [400, 511, 512, 513, 640, 768, 1000, 9_999])
def test_frames_are_as_many_as_counted(samples: int, bank: SincBank) -> None:
    frames = bank(torch.randn(1, samples, 1)).shape[1]
    assert frames == math.ceil(samples / 256) == int(bank.counts(torch.tensor([samples]))[0])


def test_padding_moves_no_frame(bank: SincBank) -> None:
    wave = torch.randn(1, 1_111, 1)
    alone = bank(wave)
    padded = bank(torch.nn.functional.pad(wave, (0, 0, 0, 900)))
    torch.testing.assert_close(padded[:, : alone.shape[1]], alone, atol=1e-5, rtol=1e-5)


def test_frame_n_hears_what_is_at_256_n_samples(bank: SincBank) -> None:
    wave = torch.zeros(1, 2_560, 1)
    wave[0, 5 * 256] = 1.0
    assert int(bank(wave)[0].abs().sum(dim=1).argmax()) == 5


def test_tone_is_heard_by_the_filters_of_its_band(bank: SincBank) -> None:
    time = torch.arange(16_000) / SAMPLE_RATE
    heard = bank(torch.sin(2 * torch.pi * 1_000 * time)[None, :, None])[0].square().mean(dim=0)
    low, high = edges(bank)
    loudest = int(heard.argmax())
    assert low[loudest] - 32 <= 1_000 <= high[loudest] + 32
