"""The same recording is read as the same samples at every rate, in every container and from every source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.reading import from_array, read
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import (
    EmptyAudioError,
    MissingFileError,
    MtqnetError,
    NotFiniteError,
    UnreadableError,
    UsageError,
)

Voice = Callable[..., Samples]


@pytest.mark.parametrize("rate", [11_025, 44_100, 48_000, 96_000])
def test_copies_at_other_rates_agree(voice: Voice, rate: int) -> None:
    """The voice has no energy above 3.3 kHz, so every rate represents it completely."""
    at_home = from_array(voice(2.0), SAMPLE_RATE).samples
    away = from_array(voice(2.0, rate=rate), rate).samples
    assert abs(len(away) - len(at_home)) <= 1
    length = min(len(away), len(at_home))
    error = np.sqrt(np.mean((away[:length] - at_home[:length]) ** 2) / np.mean(at_home**2))
    assert error < 0.02


def test_a_narrow_band_copy_keeps_its_band(voice: Voice) -> None:
    at_home, narrow = (
        from_array(voice(2.0), SAMPLE_RATE).samples,
        from_array(voice(2.0, rate=8_000), 8_000).samples,
    )
    spectra = [np.abs(np.fft.rfft(samples[: 2 * SAMPLE_RATE])) for samples in (at_home, narrow)]
    band = slice(200, 6_000)  # 100 Hz to 3 kHz, in steps of 0.5 Hz
    assert np.linalg.norm(spectra[0][band] - spectra[1][band]) < 0.02 * np.linalg.norm(spectra[0][band])


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
def test_stereo_of_twice_the_same_is_mono(voice: Voice, rate: int) -> None:
    mono = voice(1.0, rate=rate)
    both = from_array(np.stack([mono, mono], axis=1), rate)
    assert both.source_channels == 2
    np.testing.assert_array_equal(both.samples, from_array(mono, rate).samples)


def test_channels_are_averaged() -> None:
    left, right = np.full(8_000, 0.5), np.full(8_000, -0.1)
    mixed = from_array(np.stack([left, right], axis=1), SAMPLE_RATE).samples
    np.testing.assert_allclose(mixed, 0.2, atol=1e-6)


@pytest.mark.parametrize(("kind", "scale"), [(np.int16, 2**15), (np.int32, 2**31), (np.int8, 2**7)])
def test_integers_are_scaled_by_their_full_scale(voice: Voice, kind: type[np.signedinteger], scale: int) -> None:
    integers = np.round(voice(1.0).astype(np.float64) * (scale - 1)).astype(kind)
    taken = from_array(integers, SAMPLE_RATE).samples
    np.testing.assert_allclose(taken, integers / scale, atol=1e-7)


def test_unsigned_bytes_have_their_zero_in_the_middle() -> None:
    taken = from_array(np.array([128, 255, 0] * 4_000, dtype=np.uint8), SAMPLE_RATE).samples
    np.testing.assert_allclose(taken[:3], [0, 127 / 128, -1])


@pytest.mark.parametrize(
    ("name", "form"), [("a.wav", "PCM_16"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS")]
)
def test_file_is_its_array(voice: Voice, tmp_path: Path, name: str, form: str) -> None:
    path = tmp_path / name
    sf.write(path, np.stack([voice(1.0, rate=48_000)] * 2, axis=1), 48_000, subtype=form)
    array, rate = sf.read(path, dtype="float32")
    recording = read(path)
    assert (recording.source_rate, recording.source_channels) == (48_000, 2)
    assert recording.duration_s == pytest.approx(1.0)
    np.testing.assert_array_equal(recording.samples, from_array(array, rate).samples)


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("missing", MissingFileError, "no such file"),
        ("empty", EmptyAudioError, "0 bytes"),
        ("header", EmptyAudioError, "no samples"),
        ("text", UnreadableError, "not an audio file"),
        ("nan", NotFiniteError, "1 samples"),
    ],
)
def test_bad_files_say_what_is_wrong(
    bad_files: dict[str, Path], kind: str, error: type[MtqnetError], says: str
) -> None:
    with pytest.raises(error, match=says):
        read(bad_files[kind])


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="folder"):
        read(tmp_path)


def test_a_header_with_an_absurd_rate_is_not_believed(tmp_path: Path) -> None:
    sf.write(tmp_path / "slow.wav", np.zeros(100), 10)
    with pytest.raises(UnreadableError, match="10 Hz"):
        read(tmp_path / "slow.wav")


@pytest.mark.parametrize("rate", [None, 0, -16_000, 16, float("nan"), float("inf"), 10_000_000])
def test_arrays_need_a_rate_that_can_be_meant(rate: float | None) -> None:
    with pytest.raises(UsageError, match=r"rate|Hz"):
        from_array(np.zeros(16_000), rate)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((1, 16_000)),
        np.zeros((16_000, 65)),
        np.zeros((2, 2, 2)),
        np.float32(0.5),
        np.zeros(16_000, dtype=complex),
        np.zeros(16_000, dtype=bool),
        np.zeros(16_000, dtype=np.uint16),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_that_are_no_recording(array: NDArray[Any]) -> None:
    with pytest.raises(UsageError):
        from_array(array, SAMPLE_RATE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_arrays_with_what_is_no_number(bad: float) -> None:
    samples = np.zeros(16_000)
    samples[5] = bad
    with pytest.raises(NotFiniteError, match="1 samples"):
        from_array(samples, SAMPLE_RATE)


def test_an_empty_array_is_an_empty_recording() -> None:
    with pytest.raises(EmptyAudioError):
        from_array([], SAMPLE_RATE)


def test_a_file_without_header_is_reported_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "call.raw").write_bytes(bytes(32_000))
    with pytest.raises(UnreadableError, match="no header"):
        read(tmp_path / "call.raw")
