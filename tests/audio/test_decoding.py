"""Decoding: containers by content, damaged and unusual files, bounded memory, no messages on standard error."""

from __future__ import annotations

import base64
import builtins
import gzip
import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoded
import numpy as np
import pytest
import soundfile as sf

from mtqnet.audio.analysis import analyse
from mtqnet.audio.containers import AUDIO_SUFFIXES, HEAD_BYTES, Inspection, container_of, content_of, inspect
from mtqnet.audio.decoding import BLOCK_VALUES, MAX_CHANNELS, PyAVSource, _Bytes, open_source
from mtqnet.audio.reading import MonoSignal, Recording, from_array, read, signals
from mtqnet.audio.resampling import SAMPLE_RATE, Samples
from mtqnet.errors import EmptyAudioError, MissingFileError, NotFiniteError, UnreadableError, UsageError

Voice = Callable[..., Samples]

SOUNDFILE = {
    "wav": ("WAV", "PCM_16"), "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_16"), "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "voc": ("VOC", "PCM_16"), "nist": ("NIST", "PCM_16"), "avr": ("AVR", "PCM_16"),
}  # fmt: skip


def written(samples: Samples, container: str, rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    name, subtype = SOUNDFILE[container]
    sf.write(file, samples, rate, format=name, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="module")
def speech(voice: Voice) -> Samples:
    """4 s that end loud, so that a missing end is missing sound."""
    noise = np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE).astype(np.float32)
    return voice(4.0) + np.float32(0.01) * noise


def flags(data: bytes) -> tuple[str, ...]:
    return analyse(MonoSignal(open_source(data))).analysis.flags


@pytest.mark.parametrize("container", SOUNDFILE)
def test_containers_are_recognised_and_read_from_bytes(speech: Samples, container: str) -> None:
    data = written(speech, container)
    assert container_of(data[:HEAD_BYTES]) == container
    assert read(data).duration_s == pytest.approx(4.0, abs=0.1)
    assert "truncated" not in flags(data)


def test_raw_samples_are_no_container(speech: Samples) -> None:
    for samples in (
        (speech * 32767).astype("<i2"),
        speech,
        np.zeros(4_000, np.int16),
        (speech * 127).astype(np.int8),
    ):
        assert content_of(samples.tobytes()[:HEAD_BYTES]) is None
    random = np.random.default_rng(1)
    assert all(content_of(random.bytes(HEAD_BYTES)) is None for _ in range(100))
    for level in (1, 3, 100, 3000, 30_000):
        for _ in range(30):
            noise = np.clip(level * random.standard_normal(HEAD_BYTES // 2), -32768, 32767).astype("<i2")
            assert content_of(noise.tobytes()) is None


def test_other_content_than_samples_is_described(speech: Samples) -> None:
    mp3, ogg = written(speech, "mp3"), written(speech, "ogg")
    for data, title in (
        (mp3[777:], "a part of a compressed stream"),
        (ogg[5000:], "a part of a compressed stream"),
        (gzip.compress(mp3), "gzip data"),
        (b"<html><body>404 Not Found</body></html>\n" * 3, "text"),
        ('{"error": "nicht gefunden", "Stra\u00dfe": "\u4f60\u597d"}'.encode() * 99, "text"),
        (base64.b64encode(mp3), "text"),
        (b"\x1fC\xb6u\x01" + bytes(100), "a WebM/Matroska file"),
        (b"\0\0\0\x18moof" + bytes(100), "a MP4/M4A/3GP file"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + written(speech, "wav"), "an audio file with other bytes in front of it"),
        (b"\0" + written(speech, "flac"), "an audio file with other bytes in front of it"),
        (b"\xa3" * 3 + b"\x1f\x8b" + bytes(100), None),
    ):
        assert content_of(data[:HEAD_BYTES]) == title


@pytest.mark.parametrize(
    ("suffix", "container"),
    [
        ("m4a", "mp4"), ("mp4", "mp4"), ("3gp", "mp4"), ("aac", "aac"), ("webm", "matroska"), ("mka", "matroska"),
        ("amr", "amr"), ("g722.wav", "wav"), ("wma", "asf"), ("avi", "avi"), ("mp3.avi", "avi"), ("mkv", "matroska"),
        ("flv", "flv"), ("ac3", "ac3"), ("tta", "tta"), ("wv", "wv"), ("mpg", "mpeg"), ("mts", "mpegts"),
        ("mp3.wav", "wav"),
    ],
)  # fmt: skip
def test_formats_of_phones_and_browsers_are_read(voice: Voice, suffix: str, container: str) -> None:
    pytest.importorskip("av")
    rate = encoded.CODECS[suffix][2]
    data = encoded.encode(voice(3.0, rate=rate), suffix)
    assert container_of(data[:HEAD_BYTES]) == container
    recording = read(data)
    assert recording.source_rate == rate
    assert recording.duration_s == pytest.approx(3.0, abs=0.15)
    level = 20 * np.log10(recording.samples.std() / voice(3.0).std())
    assert abs(level) < 1.5
    assert recording.problem is None
    assert f".{suffix.split('.')[-1]}" in AUDIO_SUFFIXES


def test_amr_wb_is_read(voice: Voice) -> None:
    pytest.importorskip("av")
    assert container_of(encoded.AMR_WB) == "amr-wb"
    recording = read(encoded.AMR_WB)
    assert (recording.source_rate, recording.duration_s, recording.problem) == (16_000, 1.0, None)
    level = 20 * np.log10(recording.samples.std() / voice(1.0, level_db=-20).std())
    assert abs(level) < 1.5
    assert "truncated" in flags(encoded.AMR_WB[:-7])


@pytest.mark.parametrize("suffix", ["webm", "mkv", "avi", "mp3.avi", "wma", "flv", "mp3.wav"])
@pytest.mark.parametrize("missing", [0.5, 0.01])
def test_formats_of_the_extra_that_end_early_are_flagged(voice: Voice, suffix: str, missing: float) -> None:
    pytest.importorskip("av")
    data = encoded.encode(voice(3.0, rate=encoded.CODECS[suffix][2]), suffix)
    cut = data[: round(len(data) * (1 - missing))]
    try:
        assert "truncated" in flags(cut)
    except UnreadableError as error:  # FFmpeg decodes whole blocks of a Matroska file only
        assert suffix == "mkv" and "incomplete" in str(error)


def test_a_webm_without_sizes_as_browsers_record_it_is_complete(voice: Voice) -> None:
    pytest.importorskip("av")
    data = encoded.encode(voice(3.0, rate=48_000), "webm", live="1")
    assert inspect(io.BytesIO(data), "matroska").problem is None
    assert read(data).problem is None


def test_without_the_extra_the_message_names_container_and_command(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    path = tmp_path / "phone.m4a"
    path.write_bytes(encoded.encode(voice(1.0, rate=44_100), "m4a"))
    plain = builtins.__import__

    def without_av(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "av":
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_av)
    with pytest.raises(UnreadableError, match=r"M4A.*'mtqnet\[formats\]'.*clone.*'\.\[formats\]'"):
        read(path)


@pytest.mark.parametrize(("suffix", "subtype"), [("ul", "ULAW"), ("alaw", "ALAW")])
def test_g711_without_header_is_read_by_its_suffix(
    voice: Voice, tmp_path: Path, suffix: str, subtype: str
) -> None:
    samples = voice(2.0, rate=8_000)
    sf.write(tmp_path / f"a.{suffix}", samples, 8_000, format="RAW", subtype=subtype)
    source = open_source(tmp_path / f"a.{suffix}")
    assert (source.rate, source.channels) == (8_000, 1)
    np.testing.assert_allclose(np.concatenate(list(source.blocks()))[:, 0], samples, atol=0.03)


def test_pipes_and_file_objects_are_read(speech: Samples) -> None:
    data = written(speech, "flac")
    reader, writer = os.pipe()
    if os.fork() == 0:  # pragma: no cover - another process
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        piped = read(pipe)
    os.wait()
    np.testing.assert_array_equal(piped.samples, read(io.BytesIO(data)).samples)


def wav(data: bytes, size: int, riff: int | None = None) -> bytes:
    """A WAV file, 16 bit, whose header states this data size."""
    form = struct.pack("<HHIIHH", 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    riff = 36 + size if riff is None else riff
    return (
        b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size) + data
    )


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_a_wav_without_a_size_is_read_to_its_end(speech: Samples, size: int) -> None:
    data = wav((speech * 32767).astype("<i2").tobytes(), size, riff=min(size, 0xFFFFFFFF))
    assert read(data).duration_s == 4.0
    assert "truncated" not in flags(data)


def test_a_wav_that_is_empty_stays_empty() -> None:
    with pytest.raises(EmptyAudioError):
        read(wav(b"LIST\x04\0\0\0abcd", 0))


def test_flac_that_was_written_into_a_pipe_is_read(speech: Samples) -> None:
    data = bytearray(written(speech, "flac"))
    fields = int.from_bytes(data[18:26], "big")
    data[18:26] = (fields >> 36 << 36).to_bytes(8, "big")
    assert open_source(bytes(data)).declared_s is None
    assert read(bytes(data)).duration_s == 4.0
    assert "truncated" not in flags(bytes(data))


@pytest.mark.parametrize("container", ["wav", "rf64", "w64", "aiff", "au", "caf", "nist", "flac", "ogg", "mp3"])
def test_files_that_end_early_are_flagged(speech: Samples, container: str) -> None:
    data = written(speech, container)
    assert "truncated" in flags(data[: len(data) * 3 // 4])


@pytest.mark.parametrize("container", ["flac", "ogg", "mp3"])
def test_files_with_a_gap_are_flagged(speech: Samples, container: str) -> None:
    data = written(speech, container)
    half = len(data) // 2
    recording = read(data[:half] + data[half + len(data) // 5 :])
    assert recording.problem is not None
    assert 1.0 < recording.duration_s < 4.0


def test_a_damaged_flac_keeps_the_samples_before_the_degradation(speech: Samples) -> None:
    data = bytearray(written(speech, "flac"))
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    recording = read(bytes(data))
    assert recording.problem is not None and recording.duration_s > 1.5
    np.testing.assert_array_equal(
        recording.samples, read(written(speech, "flac")).samples[: len(recording.samples)]
    )


def test_an_m4a_that_ends_early_is_flagged(voice: Voice) -> None:
    pytest.importorskip("av")
    data = encoded.encode(voice(3.0, rate=44_100), "m4a", movflags="faststart")
    assert "truncated" not in flags(data)
    assert "truncated" in flags(data[: len(data) * 3 // 4])
    with pytest.raises(UnreadableError, match="M4A"):
        read(encoded.encode(voice(3.0, rate=44_100), "m4a")[:-1000])  # its index is at the end


def test_a_stream_that_changes_its_rate_is_converted(voice: Voice) -> None:
    """A fuzzing case: after a change of the format, a converter of PyAV raises an error or does not convert."""
    pytest.importorskip("av")
    first = encoded.encode(voice(2.0, rate=16_000), "aac")
    recording = read(first + encoded.encode(voice(2.0, rate=44_100), "44.aac"))
    assert recording.source_rate == 16_000
    assert recording.duration_s == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("channels", [(1, 2), (2, 1)])
def test_a_stream_that_changes_its_channels_is_converted(speech: Samples, channels: tuple[int, int]) -> None:
    pytest.importorskip("av")
    parts = [written(np.stack([speech] * count, axis=1), "mp3") for count in channels]
    source = PyAVSource(_Bytes.of(b"".join(parts)), "mp3", Inspection())
    blocks = list(source.blocks())
    assert {block.shape[1] for block in blocks} == {channels[0]}
    assert sum(map(len, blocks)) / source.rate == pytest.approx(8.0, abs=0.5)


def test_bytes_after_the_samples_are_flagged_unless_they_are_chunks(speech: Samples) -> None:
    samples = (speech * 32767).astype("<i2").tobytes()
    assert "truncated" in flags(wav(samples, 40_000))
    assert "truncated" not in flags(wav(samples + b"LIST\x04\0\0\0abcd", len(samples)))


@pytest.mark.parametrize(
    "container", ["wav", "rf64", "w64", "au", "caf", "nist", "flac", "ogg", "mp3", "avr", "voc"]
)
def test_a_second_recording_in_the_same_file_is_flagged(speech: Samples, container: str) -> None:
    """As `cat a b > c` writes it: most decoders read the first recording only, some the second header as samples."""
    data = written(speech, container)
    assert "truncated" not in flags(data)
    assert "truncated" in flags(data + data)


@pytest.mark.parametrize("kept", [0.3, 0.62, 0.9])
def test_mpeg_audio_without_a_length_that_ends_within_a_frame_is_flagged(speech: Samples, kept: float) -> None:
    data = written(speech, "mp3")
    frames = data[data.index(b"\xff", 100) :]  # without the frame that has the Xing header
    assert (
        inspect(io.BytesIO(frames), "mp3")
        == inspect(io.BytesIO(frames + b"TAG" + bytes(125)), "mp3")
        == Inspection()
    )
    assert inspect(io.BytesIO(frames[: int(len(frames) * kept)]), "mp3").problem is not None


@pytest.mark.parametrize("suffix", ["au", "snd", "vox", "gsm", "ul", "al"])
def test_a_suffix_does_not_turn_other_files_into_audio(tmp_path: Path, suffix: str) -> None:
    """libsndfile reads a file with some of these suffixes as samples without a header."""
    path = tmp_path / f"download.{suffix}"
    for content in (b"<html><body>404 Not Found</body></html>\n" * 300, b"\x89PNG\r\n" + bytes(range(256)) * 60):
        path.write_bytes(content)
        with pytest.raises(UnreadableError):
            read(path)


def test_gsm_without_header_is_read(speech: Samples, tmp_path: Path) -> None:
    path = tmp_path / "call.gsm"
    sf.write(path, speech[::2], 8_000, format="RAW", subtype="GSM610")
    assert read(path).duration_s == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize("name", ["PAF", "PVF", "SVX", "IRCAM", "MAT5", "WVE"])
def test_uncommon_containers_are_not_taken_for_raw_samples(speech: Samples, name: str) -> None:
    file = io.BytesIO()
    sf.write(file, speech, 8_000, format=name, subtype="ALAW" if name == "WVE" else "PCM_16")
    assert container_of(file.getvalue()) == name.lower()
    assert read(file.getvalue()).source_rate == 8_000


def test_speex_in_ogg_is_read() -> None:
    pytest.importorskip("av")
    assert read(encoded.SPEEX).duration_s == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["mka", "mp3.avi"])
def test_a_damaged_middle_of_avi_and_matroska_is_flagged(voice: Voice, suffix: str) -> None:
    pytest.importorskip("av")
    data = bytearray(encoded.encode(voice(4.0, rate=encoded.CODECS[suffix][2]), suffix))
    assert "truncated" not in flags(bytes(data))
    data[len(data) // 2 : len(data) * 3 // 4] = bytes(len(data) * 3 // 4 - len(data) // 2)
    assert "truncated" in flags(bytes(data))


def test_samples_far_beyond_any_full_scale_are_refused(speech: Samples) -> None:
    damaged = speech.copy()
    damaged[1000] = 1e30
    with pytest.raises(NotFiniteError):
        from_array(damaged, 16_000)
    from_array(speech * 2.0**31, 16_000)  # not scaled; flagged by its level


def test_messages_of_decoders_are_not_printed(speech: Samples, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(written(speech, "mp3"))
    data[len(data) // 2 : len(data) // 2 + 900] = np.random.default_rng(0).bytes(900)
    recording = read(bytes(data))
    print("own message", file=sys.stderr)
    assert capfd.readouterr().err == "own message\n"
    assert recording.problem is not None and "decoder: " in recording.problem


def test_folders_pipes_and_missing_files_have_their_reasons(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path, error, message in (
        (tmp_path, UnreadableError, "folder"),
        (tmp_path / "pipe.wav", UnreadableError, "standard input"),
        (Path(os.devnull), UnreadableError, "not a regular file"),
        (tmp_path / "no.wav", MissingFileError, "no such file"),
        (tmp_path / ("a" * 300), UnreadableError, "name too long"),
        (Path("nul\0.wav"), MissingFileError, "no such file"),
    ):
        with pytest.raises(error, match=message):
            read(path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UnreadableError, match="symbolic links"):
        read(tmp_path / "loop")


def test_a_file_without_permission_is_reported_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Samples
) -> None:
    path = tmp_path / "locked.wav"
    path.write_bytes(written(speech, "wav"))

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the superuser may open every file
    with pytest.raises(UnreadableError, match="permission denied"):
        read(path)


@pytest.mark.parametrize("text", [b"<html>404</html>", b"#EXTM3U\nfile:///etc/passwd\n", bytes(5_000)])
def test_other_files_are_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "page.wav").write_bytes(text)
    with pytest.raises(UnreadableError, match="not an audio file"):
        read(tmp_path / "page.wav")


def test_channels_are_selected(speech: Samples) -> None:
    file = io.BytesIO()
    sf.write(file, np.stack([speech, -0.5 * speech], axis=1), SAMPLE_RATE, format="WAV", subtype="FLOAT")
    source = open_source(file)
    each = [np.concatenate(list(signal.blocks())) for signal in signals(source, "each")]
    np.testing.assert_array_equal(each[0], speech)
    np.testing.assert_allclose(each[1], -0.5 * speech)
    np.testing.assert_allclose(read(file).samples, 0.25 * speech, atol=1e-7)
    np.testing.assert_allclose(read(file, channel=2).samples, -0.5 * speech)
    for wrong in (0, 3, -1, True, "left", 1.5):
        with pytest.raises(UsageError, match="channel"):
            signals(source, wrong)  # type: ignore[arg-type]


def two_channels(left: Samples, right: Samples) -> Recording:
    file = io.BytesIO()
    sf.write(file, np.stack([left, right], axis=1), SAMPLE_RATE, format="FLAC")
    return read(file)


def test_one_party_per_channel_is_flagged_and_equal_channels_are_not(voice: Voice, speech: Samples) -> None:
    noise = np.random.default_rng(0).standard_normal((2, len(speech))).astype(np.float32)
    for left, right, differ in (
        (speech, voice(4.0, seed=5), True),
        (speech, np.roll(speech, 16), True),
        (speech * (np.arange(len(speech)) < 30_000), voice(4.0, seed=5) * (np.arange(len(speech)) > 34_000), True),
        (speech, speech, False),
        (speech, 0.2 * speech, False),
        (speech, 0 * speech, False),
        (speech + np.float32(0.1), speech, False),
        (speech + 0.1 * speech.std() * noise[0], speech + 0.1 * speech.std() * noise[1], False),
    ):
        assert (two_channels(left, right).channel_correlation < 0.95) == differ


LIMIT_MB = 200
"""Megabytes of the process; any single file may need 500."""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_small_files_that_decode_to_much_are_read_in_bounded_blocks(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"bomb.{kind}"
    if kind == "flac":  # 0.3 GB as float32
        with sf.SoundFile(path, "w", 655_350, 8, "PCM_16", format="FLAC") as file:
            for _ in range(15):
                file.write(np.zeros((655_350, 8), np.int16))
    else:  # 64 channels at 768 kHz, 20 s: 3.9 GB as float32, and no bytes on disk
        size = 20 * 768_000 * 64
        form = struct.pack("<HHIIHH", 1, 64, 768_000, 768_000 * 64 & 0xFFFFFFFF, 64, 8)
        with path.open("wb") as sparse:
            sparse.write(
                b"RIFF"
                + struct.pack("<I", 36 + size)
                + b"WAVEfmt \x10\0\0\0"
                + form
                + b"data"
                + struct.pack("<I", size)
            )
            sparse.truncate(44 + size)
    code = (
        "import sys\nfrom mtqnet.audio.decoding import open_source\n"
        "source = open_source(sys.argv[1])\n"
        "most = max(block.size for _, block in zip(range(60), source.blocks()))\n"
        "status = open('/proc/self/status').read()\n"
        "print(most, int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    most, peak_mb = map(int, done.stdout.split())
    assert most <= BLOCK_VALUES
    assert peak_mb < LIMIT_MB


def test_a_header_that_states_2_to_the_36_samples_is_not_believed(speech: Samples, tmp_path: Path) -> None:
    data = bytearray(written(speech, "flac"))
    fields = int.from_bytes(data[18:26], "big")
    data[18:26] = (fields >> 36 << 36 | (1 << 36) - 1).to_bytes(8, "big")
    (tmp_path / "claims.flac").write_bytes(data)
    recording = read(tmp_path / "claims.flac")
    assert recording.duration_s == 4.0
    assert recording.problem is not None and "incomplete" in recording.problem


def test_a_recording_that_is_too_long_to_be_held_is_refused(speech: Samples) -> None:
    with pytest.raises(UnreadableError, match="cut it into parts"):
        read(written(speech, "wav"), max_s=2.0)


def test_more_channels_than_a_recording_has_are_refused() -> None:
    form = struct.pack("<HHIIHH", 1, MAX_CHANNELS + 1, 16_000, 16_000, MAX_CHANNELS + 1, 8)
    data = b"RIFF" + struct.pack("<I", 7000) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", 6500)
    with pytest.raises(UnreadableError, match="channels"):
        read(data + bytes(6500))
