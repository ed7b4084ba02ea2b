"""Coders: their delay, what they do to which label, and the same samples on every run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.codecs import (
    G711,
    G722,
    G726,
    G7231,
    MPEG2_KBPS,
    Aac,
    Ac3,
    Adpcm,
    AmrNb,
    AptX,
    Dpcm,
    FfmpegCoding,
    Mp2,
    Mp3,
    Nellymoser,
    Opus,
    RealAudio,
    Sbc,
    Vorbis,
    Wma,
    coded,
    encode,
)
from mtqnet.corpus.degradations.noise import WhiteNoise
from mtqnet.corpus.degradations.step import TAIL, Tracks, as_int16, fitted, start
from mtqnet.corpus.sources import Pool
from mtqnet.labels.intrusive import pesq_wb
from mtqnet.labels.three_signal import Quest, label

Samples = NDArray[np.float32]

DELAYS: tuple[tuple[FfmpegCoding, int], ...] = (
    (Opus(6, 16_000, "voip", 20), 1),
    (Opus(8, 16_000, "audio", 40), 1),
    (Opus(9, 16_000, "voip", 60), -1),
    (Opus(9, 16_000, "audio", 20), -1),
    (Opus(32, 16_000, "voip", 20), -1),
    (Opus(12, 8_000, "voip", 40), 1),
    (Opus(17, 8_000, "audio", 20), 1),
    (Opus(18, 8_000, "audio", 60), 0),
    (Opus(32, 8_000, "voip", 20), 1),
    *((AmrNb(kbps), 80) for kbps in (4.75, 6.7, 10.2)),
    (AmrNb(12.2), 80),
    (G711("A"), 0),
    (G711("mu"), 0),
    (G722(48), 22),
    (G722(64), 22),
    (G726(16), 0),
    (G726(40), 0),
    (G7231(), 120),
    *((Mp3(kbps), 1105) for kbps in MPEG2_KBPS[::2]),
    (Aac(8), 1024),
    (Aac(48), 1024),
    (Vorbis(0.7), 0),
    (Vorbis(5.0), 0),
    (Sbc(16), 73),
    (Sbc(64), 73),
    (Mp2(8), 481),
    (Mp2(48), 481),
    (RealAudio(), 320),
    (Nellymoser(8_000), 256),
    (Nellymoser(16_000), 128),
    (AptX(16_000), 90),
    (AptX(48_000), 30),
    (Wma(1, 24), 0),
    (Wma(2, 48), 0),
    (Ac3(False, 32), 128),
    (Ac3(True, 16), 128),
    *((Adpcm(variant, 8_000), 0) for variant in ("ima_qt", "ms", "yamaha", "adx")),
    (Adpcm("ms", 16_000), 0),
    (Adpcm("swf", 11_025), 0),
    (Dpcm("roq", 22_050), 0),
    (Dpcm("dfpwm", 48_000), 0),
)
"""Samples at 16 kHz by which a decoder is late"""
CODERS = tuple(step for step, _ in DELAYS)
EACH: tuple[FfmpegCoding, ...] = (
    *(Opus(12, 16_000, "voip", 20), AmrNb(7.4), G711("A"), G722(64), G726(24), G7231()),
    *(Mp3(16), Aac(16), Vorbis(1.0), Sbc(32), Mp2(16), RealAudio(), Nellymoser(8_000)),
    *(AptX(16_000), Wma(2, 24), Ac3(False, 32), Ac3(True, 16), Adpcm("ima_qt", 8_000)),
    *(Dpcm("roq", 22_050), Dpcm("dfpwm", 48_000)),
)
LOW_AND_HIGH: tuple[tuple[FfmpegCoding, FfmpegCoding], ...] = (
    (Opus(6, 16_000, "voip", 20), Opus(32, 16_000, "voip", 20)),
    (Opus(6, 8_000, "audio", 60), Opus(16, 8_000, "audio", 60)),
    (AmrNb(4.75), AmrNb(12.2)),
    (Ac3(True, 16), Ac3(True, 48)),
    (Adpcm("ms", 8_000), Dpcm("roq", 22_050)),
    (G722(48), G722(64)),
    (G726(16), G726(40)),
    (Mp3(8), Mp3(48)),
    (Aac(8), Aac(48)),
    (Vorbis(0.7), Vorbis(5.0)),
    (Sbc(16), Sbc(64)),
    (Mp2(8), Mp2(48)),
    (Nellymoser(8_000), Nellymoser(16_000)),
)
OVERSAMPLED = 8
"""Places a sample at which a delay is looked for"""


@pytest.fixture(scope="module")
def tracks(talker: Callable[..., Samples]) -> Tracks:
    """Speech in soft noise."""
    return WhiteNoise(40.0, 1)(start(talker(4.0, seed=3)))


@pytest.fixture(scope="module")
def best(tracks: Tracks) -> Quest:
    return heard(Opus(32, 16_000, "voip", 20), tracks)


def heard(step: FfmpegCoding, tracks: Tracks) -> Quest:
    made = step(tracks)
    return label(made.clean, made.speech, made.noise)


def lag(given: Samples, gave: Samples) -> float:
    """Samples by which `gave` is late between 400 and 3400 Hz, where no coder has a high-pass of its own.

    From the peak of the cross-correlation with a flattened spectrum, to 1 / OVERSAMPLED of a sample.
    """
    size = 1 << int(np.ceil(np.log2(len(given) + len(gave))))
    source = np.fft.rfft(given, size)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    smooth = np.convolve(np.abs(source) ** 2, np.full(1001, 1 / 1001), mode="same")
    cross = np.fft.rfft(gave, size) * np.conj(source) / (smooth + 1e-9) * ((hertz > 400) & (hertz < 3400))
    best = int(np.argmax(np.fft.irfft(cross, OVERSAMPLED * size)))
    return (best if best < OVERSAMPLED * size // 2 else best - OVERSAMPLED * size) / OVERSAMPLED


@pytest.mark.parametrize(("step", "delay"), DELAYS, ids=str)
def test_decoder_is_as_late_as_its_number_states_and_the_step_is_not(
    step: FfmpegCoding, delay: int, tracks: Tracks
) -> None:
    assert step.coder.delay == delay
    assert lag(tracks.mixture, coded(tracks.mixture, step.coder)) == pytest.approx(delay, abs=0.5)
    assert lag(tracks.mixture, step(tracks).mixture) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("step", EACH, ids=str)
def test_tracks_add_up_to_what_the_decoder_gave_and_the_step_repeats_itself(
    step: FfmpegCoding, tracks: Tracks
) -> None:
    gave = fitted(step.at_level(np.pad(tracks.mixture, (0, TAIL))), step.coder.delay, len(tracks.clean))
    made = step(tracks)
    np.testing.assert_allclose(made.speech + made.noise, gave, atol=1e-6)
    assert rms_level(gave) == pytest.approx(rms_level(tracks.mixture), abs=2.0)
    assert rms_level(made.speech) > rms_level(made.noise) + 15
    again = type(step)(**json.loads(json.dumps(vars(step))))(tracks)
    for part in ("clean", "speech", "noise"):
        samples = getattr(made, part)
        assert samples.dtype == np.float32 and samples.shape == tracks.clean.shape
        np.testing.assert_array_equal(samples, getattr(again, part))
    np.testing.assert_array_equal(made.clean, tracks.clean)
    assert np.any(made.mixture != tracks.mixture)


def test_another_process_gives_the_same_samples() -> None:
    script = """
import hashlib, numpy as np
from mtqnet.corpus.degradations.codecs import Aac, Mp3, Opus, Vorbis
from mtqnet.corpus.degradations.step import start
noise = 0.05 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
for step in (Opus(12, 16_000, "voip", 20), Mp3(16), Aac(16), Vorbis(1.0)):
    print(hashlib.sha256(step(start(noise)).mixture.tobytes()).hexdigest())
"""
    theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    noise = 0.05 * np.random.default_rng(1).standard_normal(16_000).astype(np.float32)
    steps = (Opus(12, 16_000, "voip", 20), Mp3(16), Aac(16), Vorbis(1.0))
    ours = [hashlib.sha256(step(start(noise)).mixture.tobytes()).hexdigest() for step in steps]
    assert theirs.split() == ours
    assert len(set(ours)) == len(ours)


@pytest.mark.parametrize("step", EACH, ids=str)
def test_silence_and_what_is_nearly_silent_make_no_sound(step: FfmpegCoding) -> None:
    nothing = np.zeros(20_000, np.float32)
    assert not np.any(step(start(nothing)).mixture)
    whisper = (1e-6 * np.random.default_rng(1).standard_normal(20_000)).astype(np.float32)
    assert rms_level(step(start(whisper)).mixture) < -60


@pytest.mark.parametrize(("low", "high"), LOW_AND_HIGH, ids=str)
def test_fewer_bits_lower_s_and_n_not_as_much(low: FfmpegCoding, high: FfmpegCoding, tracks: Tracks) -> None:
    worse, better = heard(low, tracks), heard(high, tracks)
    assert worse.s_mos < better.s_mos - 0.03
    assert better.n_mos - worse.n_mos < better.s_mos - worse.s_mos


@pytest.mark.parametrize("step", [AmrNb(12.2), G711("A"), G711("mu"), G726(40), G7231()], ids=str)
def test_narrowband_is_worse_than_good_wideband_to_pesq_alone(
    step: FfmpegCoding, tracks: Tracks, best: Quest
) -> None:
    """For S-MOS, narrowband speech is compared with narrowband speech (labels/speech.py)."""
    coded = step(tracks)
    assert (
        pesq_wb(coded.clean, coded.speech)
        < pesq_wb(tracks.clean, Opus(32, 16_000, "voip", 20)(tracks).speech) - 0.3
    )
    assert heard(step, tracks).s_mos < best.s_mos + 0.15
    spectrum = np.abs(np.fft.rfft(step(tracks).mixture)) ** 2
    above = spectrum[round(4_200 * len(tracks.clean) / SAMPLE_RATE) :]
    assert np.sum(above) < 1e-4 * np.sum(spectrum)


def test_two_coders_in_a_row_are_worse_than_either(tracks: Tracks) -> None:
    first, second = AmrNb(5.9), G7231()
    both = second(first(tracks))
    tandem = label(both.clean, both.speech, both.noise).s_mos
    assert tandem < min(heard(first, tracks).s_mos, heard(second, tracks).s_mos) - 0.05
    assert lag(tracks.mixture, both.mixture) == pytest.approx(0, abs=0.5)


def test_level_at_the_encoder_matters_and_is_put_back(tracks: Tracks) -> None:
    loud, soft = G711("A", level_dbov=-20.0)(tracks), G711("A", level_dbov=-60.0)(tracks)
    assert active_level(loud.mixture) == pytest.approx(active_level(tracks.mixture), abs=1.0)
    s_loud, s_soft = (label(t.clean, t.speech, t.noise).s_mos for t in (loud, soft))
    assert s_soft < s_loud - 0.5


def test_clip_louder_than_full_scale_is_not_clipped(tracks: Tracks) -> None:
    loud = Tracks(tracks.clean, 40 * tracks.speech, 40 * tracks.noise)
    made = G722(64, level_dbov=0.0)(loud)
    assert np.abs(made.mixture).max() > 1.5
    assert np.corrcoef(made.mixture, loud.mixture)[0, 1] > 0.97


def test_pcm_is_rounded_and_clipped() -> None:
    given = np.array([0.0, 0.6, -0.6, 32767.4, 40_000, -40_000], np.float32)
    np.testing.assert_array_equal(as_int16(given / np.float32(32768)), [0, 1, -1, 32767, 32767, -32768])


@pytest.mark.parametrize(
    ("step", "kbps"),
    [
        *((AmrNb(4.75), 5.2), (AmrNb(12.2), 12.8), (G711("A"), 64), (G726(16), 16), (G726(40), 40)),
        *((G7231(), 6.4), (Mp3(8), 8), (Mp3(48), 48), (Sbc(16), 16)),
    ],
    ids=str,
)
def test_packets_contain_as_many_bits_as_asked(step: FfmpegCoding, kbps: float, tracks: Tracks) -> None:
    """AMR and G.723.1 fill their frames up to whole octets."""
    given = resample(np.tile(tracks.mixture, 3), SAMPLE_RATE, step.coder.rate)
    bits = 8 * sum(map(len, encode(given, step.coder)[0]))
    assert bits / (3 * len(tracks.clean) / SAMPLE_RATE) / 1000 == pytest.approx(kbps, rel=0.1)


@pytest.mark.parametrize("kind", list(dict.fromkeys(type(step) for step in EACH)), ids=lambda kind: kind.__name__)
def test_drawn_coder_varies_and_works(kind: type, full_pool: Pool, tracks: Tracks) -> None:
    rng = np.random.default_rng(4)
    drawn = [kind.draw(rng, full_pool, len(tracks.clean)) for _ in range(40)]  # type: ignore[attr-defined]
    assert len(set(drawn)) > 10
    short = Tracks(*(part[:16_000] for part in (tracks.clean, tracks.speech, tracks.noise)))
    for step in drawn[:6]:
        assert -60 < rms_level(step(short).mixture) < -10
