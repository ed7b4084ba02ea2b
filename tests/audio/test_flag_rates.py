"""How often flags are raised: on good recordings hardly ever, on bad ones always, on degraded speech not wrongly.

The speech is that of ../shared/data. Degraded recordings are generated from it, twenty of each kind; the good ones
are of other speakers. Real noise and music, and what is missed of them: docs/flags.md has the measured shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtqnet.audio.analysis import analyse_recording
from mtqnet.audio.flags import of_error
from mtqnet.audio.level import active_level, rms_level
from mtqnet.audio.reading import Recording, from_array, read
from mtqnet.audio.resampling import SAMPLE_RATE, Samples, resample
from mtqnet.errors import AudioError

pytestmark = pytest.mark.shared

EACH = 20
GOOD = 100
TALKERS = 40
MOST_GOOD_FLAGGED = 1
MOST_WRONG = 0.01
"""Share of degraded speech that may be called noise or music"""
NO_SPEECH = {"noise_only", "music_only"}
Rng = np.random.Generator


def flags_of(recording: Recording) -> tuple[str, ...]:
    """Flags of a recording, whether it is scored or refused."""
    try:
        return analyse_recording(recording).flags
    except AudioError as error:
        return of_error(error)


@pytest.fixture(scope="module")
def speakers(shared_data: Path) -> list[Path]:
    """A file of each speaker of LibriSpeech, in order."""
    files = sorted((shared_data / "speech_librispeech").rglob("*.flac"))
    return list({file.name.split("-")[0]: file for file in files}.values())


@pytest.fixture(scope="module")
def sentences(speakers: list[Path]) -> list[Samples]:
    """Speech of EACH speakers at the nominal level, long enough to be cut: the source of degraded recordings."""
    spoken = [x for x in (read(file).samples for file in speakers[-40:]) if len(x) >= 5 * SAMPLE_RATE][:EACH]
    return [(x - x.mean()) * np.float32(10 ** ((-26 - active_level(x - x.mean())) / 20)) for x in spoken]


def test_good_recordings_are_hardly_ever_flagged(speakers: list[Path], shared_data: Path) -> None:
    others = (
        *sorted((shared_data / "pairs_voicebank_demand_cmgan" / "clean").glob("*.flac")),
        *sorted((shared_data / "speech_asterisk_5lang").rglob("*.flac"))[::5],
        *sorted((shared_data / "speech_picovoice_commands").glob("*.flac")),
    )
    files = [*speakers[50:100], *others[::2]][:GOOD]
    found = {file.name: flags_of(read(file)) for file in files}
    assert len(files) == GOOD
    assert sum(bool(keys) for keys in found.values()) <= MOST_GOOD_FLAGGED, {n: k for n, k in found.items() if k}


def _loudest(speech: Samples, samples: int) -> Samples:
    """The stretch of so many samples that has the most energy: no pause between words."""
    energy = np.cumsum(np.square(speech, dtype=np.float64))
    start = int((energy[samples:] - energy[:-samples]).argmax())
    return speech[start : start + samples]


def silent(rng: Rng, speech: Samples) -> Recording:
    """Dither, and a constant offset as of a muted input."""
    dither = rng.integers(-1, 2, len(speech)) / 32768
    return from_array(dither + rng.uniform(-0.5, 0.5), SAMPLE_RATE)


def too_short(rng: Rng, speech: Samples) -> Recording:
    return from_array(speech[: rng.integers(100, SAMPLE_RATE // 2)], SAMPLE_RATE)


def short(rng: Rng, speech: Samples) -> Recording:
    return from_array(_loudest(speech, int(rng.uniform(1, 2) * SAMPLE_RATE)), SAMPLE_RATE)


def clipped(rng: Rng, speech: Samples) -> Recording:
    """3 to 10 % of the samples are cut off; then the gain is another."""
    ceiling = np.quantile(np.abs(speech), rng.uniform(0.9, 0.97))
    return from_array(np.clip(speech, -ceiling, ceiling) * rng.uniform(0.5, 4), SAMPLE_RATE)


def low_level(rng: Rng, speech: Samples) -> Recording:
    return from_array(speech * 10 ** (-rng.uniform(26, 38) / 20), SAMPLE_RATE)


def high_level(rng: Rng, speech: Samples) -> Recording:
    return from_array(speech * 10 ** (rng.uniform(18, 40) / 20), SAMPLE_RATE)


def dc(rng: Rng, speech: Samples) -> Recording:
    return from_array(speech + rng.choice([-1, 1]) * rng.uniform(0.06, 0.5), SAMPLE_RATE)


def little_speech(rng: Rng, speech: Samples) -> Recording:
    """One to two seconds of speech in twenty of a quiet room."""
    sound = 10 ** (rng.uniform(-65, -55) / 20) * rng.standard_normal(20 * SAMPLE_RATE)
    spoken, start = int(rng.uniform(1, 2) * SAMPLE_RATE), int(rng.uniform(2, 17) * SAMPLE_RATE)
    sound[start : start + spoken] += _loudest(speech, spoken)
    return from_array(sound, SAMPLE_RATE)


def narrow_band(rng: Rng, speech: Samples) -> Recording:
    """A call of 8 kHz in a wider file of 16 bits."""
    rate = int(rng.choice([16_000, 32_000, 44_100, 48_000]))
    wide = resample(resample(speech, SAMPLE_RATE, 8_000), 8_000, rate)
    return from_array(np.round(wide * 32767).clip(-32768, 32767).astype(np.int16), rate)


def noise_only(rng: Rng, speech: Samples) -> Recording:
    """Noise of any colour, with a resonance, that swells."""
    hertz = np.maximum(np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE), 30.0)
    colour = (100 / hertz) ** rng.uniform(0, 1.2) * (
        1 + rng.uniform(0, 5) * np.exp(-((np.log2(hertz / rng.uniform(200, 3000)) / 0.7) ** 2))
    )
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(len(speech))) * colour, len(speech))
    time = np.arange(len(speech)) / SAMPLE_RATE
    noise *= 1 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 0.5) * time)
    return from_array(0.05 * noise / noise.std(), SAMPLE_RATE)


def music_only(rng: Rng, speech: Samples) -> Recording:
    """Chords of three to five struck notes with partials, one a second or so, and a drum on each beat."""
    sound = np.zeros(len(speech))
    beat = int(rng.uniform(0.5, 1.2) * SAMPLE_RATE)
    for start in range(0, len(sound), beat):
        time = np.arange(min(beat, len(sound) - start)) / SAMPLE_RATE
        for key in rng.choice(36, rng.integers(3, 6), replace=False):
            pitch = 110 * 2 ** (key / 12)
            partials = (np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 9) if pitch * n < 7_000)
            sound[start : start + len(time)] += sum(partials) * np.exp(-time / rng.uniform(0.5, 2.0))
        sound[start : start + len(time)] += rng.standard_normal(len(time)) * np.exp(-time / 0.03)
    return from_array(0.05 * sound / sound.std(), SAMPLE_RATE)


def channels_cancel(rng: Rng, speech: Samples) -> Recording:
    return from_array(np.stack([speech, -speech * rng.uniform(0.97, 1.03)], axis=1), SAMPLE_RATE)


KINDS = (
    silent, too_short, short, clipped, low_level, high_level, dc, little_speech, narrow_band, noise_only,
    music_only, channels_cancel,
)  # fmt: skip


@pytest.mark.parametrize("spoil", KINDS, ids=lambda spoil: spoil.__name__)
def test_every_bad_recording_is_flagged_as_what_it_is(
    spoil: Callable[[Rng, Samples], Recording], sentences: list[Samples]
) -> None:
    rng = np.random.default_rng(0)
    found = [flags_of(spoil(rng, speech)) for speech in sentences]
    assert len(found) == EACH
    assert [keys for keys in found if spoil.__name__ not in keys] == []


def test_degraded_speech_is_not_called_noise_or_music(shared_data: Path) -> None:
    folders = (
        "mushra_neural_codec", "p835_csp835_refconditions/wb", "p835_noizeus_refconditions_8k",
        "pairs_voicebank_demand_cmgan/noisy", "pairs_voicebank_demand_cmgan/enhanced_cmgan",
    )  # fmt: skip
    files = [file for folder in folders for file in sorted((shared_data / folder).rglob("*.flac"))[::2]]
    wrong = [file.name for file in files if NO_SPEECH & set(flags_of(read(file)))]
    assert len(files) > 95
    assert len(wrong) <= max(1, MOST_WRONG * len(files)), wrong


def test_speech_in_noise_as_loud_or_in_rooms_or_whispered_is_not_called_noise_or_music(
    speakers: list[Path], shared_data: Path
) -> None:
    """Other pairs of speaker, noise and room; but `music_only` was raised for them, so this is no fresh check."""
    rng = np.random.default_rng(7)
    noises = [read(file).samples for file in sorted((shared_data / "noise_mixed_cc").rglob("*.flac"))[::2]]
    rooms = [read(file).samples for file in sorted((shared_data / "rir_real").glob("*.flac"))]
    spoken = [read(file).samples[: 6 * SAMPLE_RATE] for file in speakers[-TALKERS:]]
    found: dict[str, tuple[str, ...]] = {}
    for number, (file, speech) in enumerate(zip(speakers[-TALKERS:], spoken, strict=True)):
        for kind, sound in _worsened(rng, speech, noises, rooms[number % len(rooms)]):
            found[f"{file.stem} {kind}"] = flags_of(from_array(sound, SAMPLE_RATE))
    wrong = {name: keys for name, keys in found.items() if NO_SPEECH & set(keys)}
    assert len(found) == 3 * TALKERS
    assert len(wrong) <= max(1, MOST_WRONG * len(found)), wrong


def _worsened(
    rng: Rng, speech: Samples, noises: list[Samples], room: Samples
) -> Iterator[tuple[str, NDArray[np.floating]]]:
    noise = np.resize(noises[rng.integers(len(noises))], len(speech))
    yield "0 dB", speech + noise * 10 ** ((active_level(speech) - rms_level(noise)) / 20)
    size = len(speech) + len(room)
    wet = np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(room, size), size)[: len(speech)]
    yield "room", 0.5 * wet / np.abs(wet).max()
    yield "whisper", _whispered(rng, speech)


def _whispered(rng: Rng, speech: Samples, order: int = 18, window: int = 512) -> NDArray[np.float64]:
    """The spectral envelopes of speech (linear prediction), spoken by noise: no pitch is left."""
    taper = np.sqrt(np.hanning(window + 1)[:-1])
    out = np.zeros(len(speech) + window)
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    for start in range(0, len(speech) - window, window // 2):
        power = np.abs(np.fft.rfft(speech[start : start + window] * taper, 2 * window)) ** 2
        correlation = np.fft.irfft(power)[: order + 1] + 1e-9 * (np.arange(order + 1) == 0)
        predictor = np.linalg.solve(correlation[lags] + 1e-4 * correlation[0] * np.eye(order), correlation[1:])
        gain = np.sqrt(max(correlation[0] - predictor @ correlation[1:], 0.0) / window)
        excitation = np.fft.rfft(rng.standard_normal(window), 2 * window)
        sound = np.fft.irfft(gain * excitation / np.fft.rfft(np.r_[1.0, -predictor], 2 * window))[:window]
        out[start : start + window] += sound * taper
    return out[: len(speech)]
