"""Codecs of tools other than FFmpeg: delay, quality, and the same samples on every run.

A codec whose tool is not installed is skipped with the install command.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from mtqnet.audio.level import rms_level
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations import STEPS, missing
from mtqnet.corpus.degradations.generative import LyraV2, OpusNeural
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.speech_codecs import (
    AMR_WB_KBPS,
    G729,
    AmrWb,
    Codec2,
    Cvsd,
    GsmFr,
    Lc3,
    Lpc10,
    Silk,
    Siren,
    Speex,
)
from mtqnet.corpus.degradations.step import TAIL, Coding, Tracks, as_int16, start
from mtqnet.labels.intrusive import pesq_wb, stoi

Samples = NDArray[np.float32]

WAVEFORM: tuple[tuple[Coding, int], ...] = (
    (AmrWb(6.6), 95),
    (AmrWb(12.65), 95),
    (AmrWb(23.85), 95),
    (Speex(2, 16_000), 223),
    (Speex(8, 16_000), 223),
    (Speex(4, 8_000), 160),
    (GsmFr(), 0),
    (G729(), 80),
    (Lc3(16, 10.0), 40),
    (Lc3(32, 7.5), 64),
    (Silk(8), 88),
    (Silk(12), 90),
    (Silk(20), 80),
    (Siren(), 320),
    (Cvsd(16), 0),
    (Cvsd(64), 0),
    (LyraV2(3.2), 0),
    (LyraV2(9.2), 0),
    (OpusNeural(12, "none", 0.0, 1.0, 1), 104),
    (OpusNeural(12, "lace", 0.0, 1.0, 1), 104),
    (OpusNeural(12, "nolace", 0.0, 1.0, 1), 104),
)
"""Codecs that keep the waveform about, and their delay in samples at 16 kHz"""
VOCODERS: tuple[tuple[Coding, int], ...] = (
    (Codec2(3200), 296),
    (Codec2(1300), 296),
    (Codec2(700), 464),
    (Lpc10(), 1720),
    (Speex(0, 16_000), 223),
)
"""Codecs that keep the envelopes alone, and the delay of these"""
EACH: tuple[Coding, ...] = (
    *(AmrWb(6.6), Speex(2, 16_000), GsmFr(), G729(), Lc3(16, 10.0), Silk(8), Siren(), Cvsd(16), LyraV2(3.2)),
    *(OpusNeural(6, "nolace", 0.2, 2.0, 1), Codec2(1300), Lpc10()),
)
BETTER: tuple[tuple[Coding, Coding], ...] = (
    (AmrWb(6.6), AmrWb(23.85)),
    (Speex(2, 16_000), Speex(8, 16_000)),
    (Speex(2, 8_000), Speex(4, 16_000)),
    (Lc3(16, 10.0), Lc3(64, 10.0)),
    (Silk(6), Silk(24)),
    (Cvsd(16), Cvsd(64)),
    (LyraV2(3.2), LyraV2(9.2)),
    (OpusNeural(6, "none", 0.0, 1.0, 1), OpusNeural(6, "nolace", 0.0, 1.0, 1)),
    (OpusNeural(20, "nolace", 0.3, 2.0, 1), OpusNeural(20, "nolace", 0.0, 1.0, 1)),
    (Lpc10(), GsmFr()),
    (Codec2(1300), G729()),
)
"""Pairs with the better one second"""


def need(step: Coding) -> None:
    """Skip the test if the tool of this codec is not installed."""
    if lacking := missing(type(step).__name__):
        pytest.skip("; ".join(f"{one.name} is not installed: {one.install}" for one in lacking))


@pytest.fixture(scope="module")
def tracks(talker: Callable[..., Samples]) -> Tracks:
    return WhiteNoise(40.0, 1)(start(talker(3.0)))


def band(samples: Samples, low: float, high: float) -> NDArray[Any]:
    return signal.sosfiltfilt(signal.butter(2, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"), samples)


def lag(given: NDArray[Any], late: NDArray[Any], most: int = 3000) -> int:
    """Delay in samples of the rows of `late` relative to those of `given`, at the maximum of the sum of their
    correlations."""
    sums = sum(
        signal.correlate(b, a, "full", "fft") / np.sqrt((a @ a) * (b @ b) + 1e-12)
        for a, b in zip(given, late, strict=True)
    )
    lags = signal.correlation_lags(late.shape[1], given.shape[1])
    near = np.abs(lags) < most
    return int(lags[near][np.argmax(np.asarray(sums)[near])])


def envelopes(samples: Samples) -> NDArray[Any]:
    """(12, samples): square roots of smoothed envelopes in bands from 300 to 3400 Hz, without their means."""
    edges = np.geomspace(300, 3400, 13)
    smooth = signal.butter(2, 30, fs=SAMPLE_RATE, output="sos")
    rows = [
        np.sqrt(np.maximum(signal.sosfiltfilt(smooth, np.abs(band(samples, low, high))), 0))
        for low, high in pairwise(edges)
    ]
    return np.stack([row - row.mean() for row in rows])


@pytest.mark.parametrize(("step", "samples"), WAVEFORM, ids=str)
def test_delay_is_pinned_and_taken_off(step: Coding, samples: int, tracks: Tracks) -> None:
    need(step)
    given = np.pad(tracks.mixture, (0, TAIL))
    late = step.at_level(given)[: len(given)]
    before, after = (band(part, 400, 3400)[None] for part in (given[: len(late)], late))
    assert abs(lag(before, after) - samples) <= 1 and step.delay == samples
    heard = step(tracks).mixture
    assert abs(lag(band(tracks.mixture, 400, 3400)[None], band(heard, 400, 3400)[None])) <= 1


@pytest.mark.parametrize(("step", "samples"), VOCODERS, ids=str)
def test_delay_of_a_vocoder_is_that_of_its_envelopes(step: Coding, samples: int, tracks: Tracks) -> None:
    """The delay is compensated within 4 ms, the accuracy of envelopes that are smoothed to 30 Hz."""
    need(step)
    given = np.pad(tracks.mixture, (0, TAIL))
    late = step.at_level(given)[: len(given)]
    assert step.delay == samples
    assert abs(lag(envelopes(given[: len(late)]), envelopes(late)) - samples) <= 64


@pytest.mark.parametrize("step", EACH, ids=str)
def test_step_keeps_length_and_reference_and_repeats_itself(step: Coding, tracks: Tracks) -> None:
    need(step)
    made = step(tracks)
    again = type(step)(**json.loads(json.dumps(vars(step))))(tracks)
    for part in ("clean", "speech", "noise"):
        samples = getattr(made, part)
        assert samples.dtype == np.float32 and samples.shape == tracks.clean.shape
        assert np.isfinite(samples).all()
        np.testing.assert_array_equal(samples, getattr(again, part))
    np.testing.assert_array_equal(made.clean, tracks.clean)
    assert rms_level(made.mixture) == pytest.approx(rms_level(tracks.mixture), abs=4.0)
    assert rms_level(made.speech) > rms_level(made.noise) + 6


@pytest.mark.parametrize(("worse", "better"), BETTER, ids=str)
def test_more_bits_or_a_better_codec_keep_more(worse: Coding, better: Coding, tracks: Tracks) -> None:
    for step in (worse, better):
        need(step)
    low, high = (step(tracks).mixture for step in (worse, better))
    assert pesq_wb(tracks.clean, low) < pesq_wb(tracks.clean, high)
    assert stoi(tracks.clean, high) > 0.5


@pytest.mark.parametrize("step", EACH, ids=str)
def test_silence_makes_no_sound(step: Coding) -> None:
    need(step)
    assert not np.any(step(start(np.zeros(8_000, np.float32))).mixture)


@pytest.mark.parametrize(("mode", "size"), tuple(enumerate((18, 24, 33, 37, 41, 47, 51, 59, 61))))
def test_amr_wb_frames_have_the_size_of_their_mode(mode: int, size: int, tracks: Tracks) -> None:
    """3GPP TS 26.201: 132 to 477 bits, and the octet with the mode."""
    need(AmrWb(AMR_WB_KBPS[mode]))
    packets = AmrWb(AMR_WB_KBPS[mode]).encoded(as_int16(tracks.mixture))
    assert {len(packet) for packet in packets} == {size}
    assert size == 1 + -(-round(20 * AMR_WB_KBPS[mode]) // 8)


def test_cvsd_follows_a_slow_tone_and_not_a_fast_loud_one() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    slow, fast = (
        np.asarray(0.3 * np.sin(2 * np.pi * hertz * time), dtype=np.float32) for hertz in (200.0, 3000.0)
    )
    step = Cvsd(32)
    near, far = (
        np.corrcoef(tone[800:-800], step.transcode(tone)[: len(tone)][800:-800])[0, 1] for tone in (slow, fast)
    )
    assert near > 0.98 > far


def test_loss_of_frames_is_concealed_better_by_the_networks(tracks: Tracks) -> None:
    plain, neural = (OpusNeural(20, kind, 0.2, 2.0, 3) for kind in ("none", "nolace"))
    need(plain)
    worse, better = (stoi(tracks.clean, step(tracks).mixture) for step in (plain, neural))
    assert better > worse


DIGESTS = """
import hashlib, sys
import numpy as np
from mtqnet.corpus.degradations import STEPS
from mtqnet.corpus.degradations.step import start
noise = 0.05 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
for name in sys.argv[1:]:
    step = STEPS[name].draw(np.random.default_rng(1), None, 16_000)
    print(hashlib.sha256(step(start(noise)).mixture.tobytes()).hexdigest())
"""


def test_another_process_gives_the_same_samples() -> None:
    """Some libraries keep random numbers from call to call: clips must not depend on what was coded before."""
    names = [type(step).__name__ for step in EACH if not missing(type(step).__name__)]
    command = [sys.executable, "-c", DIGESTS, *names[::-1]]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[::-1]
    noise = 0.05 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    for name, digest in zip(names, theirs, strict=True):
        step = STEPS[name].draw(np.random.default_rng(1), None, 16_000)
        assert hashlib.sha256(step(start(noise)).mixture.tobytes()).hexdigest() == digest, name
