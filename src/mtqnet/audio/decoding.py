"""Decoding of files, bytes and arrays in blocks of bounded size.

libsndfile decodes most containers. PyAV, which the extra `[formats]` installs, decodes those of phones and
browsers. No header is trusted: memory depends on neither the number of samples nor the number of channels that it
states.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import ArrayLike, NDArray

from mtqnet.audio import containers
from mtqnet.audio.containers import Inspection
from mtqnet.audio.resampling import MAX_RATE, MIN_RATE, Samples, check_rate
from mtqnet.errors import EmptyAudioError, MissingFileError, UnreadableError, UsageError, install_command

PathLike = str | os.PathLike[str]
Readable = PathLike | bytes | bytearray | memoryview | BinaryIO
"""What can be decoded: a path, the bytes of a file, or a binary file object such as a pipe"""

MAX_CHANNELS = 64
"""Arrays: a second axis that is longer is time, not channels. Files: more channels are refused."""
BLOCK_VALUES = 1 << 20
"""Samples times channels that are decoded at a time: 4 MB as float32"""
END_FRAMES = 1024
"""Frames that are tried after the number that the header states"""
SPOOL_BYTES = 64 << 20
"""Bytes of a pipe that are kept in memory; more go to a temporary file."""
SHORTAGE_S = 0.25
"""Seconds. Compressed audio that is this much shorter than its header states is incomplete. The delay and padding
of encoders are below 0.15 s."""
MAYBE_MP3 = (None, "mp3")
"""Containers that libsndfile may decode with libmpg123, which writes to standard error"""
MAX_MESSAGES = 20
"""Lines of a decoder that are kept"""


class AudioSource(Protocol):
    """Audio that can be decoded several times."""

    rate: float
    """Sample rate in Hz; a whole number for files"""
    channels: int
    problem: str | None
    """Why the audio is probably incomplete. Complete only after `blocks` was exhausted."""

    @property
    def declared_s(self) -> float | None:
        """Duration in seconds that the header states, which may be wrong; None where it states none."""

    def blocks(self) -> Iterator[Samples]:
        """Decode from the beginning.

        Yields:
            Blocks of the shape (samples, channels), at most BLOCK_VALUES values each.

        Raises:
            UnreadableError: Nothing could be decoded.
        """


def open_source(audio: Readable) -> AudioSource:
    """Open a recording for decoding.

    The container is recognised by its content; a suffix matters only for samples without a header.

    Args:
        audio: Path, bytes of a file, or binary file object. A file object that cannot seek is read to its end.

    Raises:
        MissingFileError: The path does not exist.
        EmptyAudioError: The file has no bytes.
        UnreadableError: The file cannot be opened, is not a regular file, or is in no known format.
    """
    source = _Bytes.of(audio)
    with source.open() as file:
        head = file.read(containers.HEAD_BYTES)
        container = containers.container_of(head)
        inspection = containers.inspect(file, container)
    suffix = source.suffix
    subtype = containers.headerless_subtype(head, suffix) if container is None else None
    if subtype is not None:
        return LibsndfileSource(source, None, inspection, raw_subtype=subtype)
    if container is None and suffix in containers.RAW_SUFFIXES:
        raise UnreadableError(
            "the file has no header, so its sample rate and encoding are unknown: convert it to WAV, or pass it "
            "on standard input: mtqnet score - --rate HZ"
        )
    try:
        return LibsndfileSource(source, container, inspection)
    except UnreadableError:
        if container not in containers.PYAV_FORMATS:
            raise
    return PyAVSource(source, container, inspection)


class _Bytes:
    """Content of a file that can be opened several times."""

    def __init__(self, path: Path | None, file: BinaryIO | None = None) -> None:
        self.path = path
        self._file = file

    @classmethod
    def of(cls, audio: Readable) -> _Bytes:
        if isinstance(audio, (str, os.PathLike)):
            return cls(_regular_file(Path(audio)))
        try:
            return cls._of_file(audio)
        except (OSError, EOFError) as error:
            raise UnreadableError(f"the file object cannot be read ({error or type(error).__name__})") from error
        except (TypeError, ValueError, BufferError) as error:  # a text stream, a closed file
            raise UsageError(f"not a binary file object that is open for reading ({error})") from error

    @classmethod
    def _of_file(cls, audio: bytes | bytearray | memoryview | BinaryIO) -> _Bytes:
        owned = False
        if isinstance(audio, (bytes, bytearray, memoryview)):
            file: BinaryIO = io.BytesIO(audio)
        elif audio.seekable():
            file = audio
        else:
            file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # type: ignore[assignment]  # noqa: SIM115
            while chunk := audio.read(1 << 16):
                file.write(chunk)
            owned = True
        content = cls(None, file)
        if owned:
            weakref.finalize(content, file.close)
        if not isinstance(file.read(0), bytes):
            raise TypeError("it is a text stream")
        if file.seek(0, os.SEEK_END) == 0:
            raise EmptyAudioError("the file is empty (0 bytes): record or copy it again")
        return content

    @property
    def suffix(self) -> str:
        return self.path.suffix.lower() if self.path is not None else ""

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The content from its beginning."""
        if self._file is not None:
            self._file.seek(0)
            yield self._file
            return
        assert self.path is not None
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise _os_error(error) from error
        with file:
            yield file


def _regular_file(path: Path) -> Path:
    """Check that a path is a file with content. Opening a named pipe would wait for its writer."""
    try:
        status = path.stat()
    except OSError as error:
        raise _os_error(error) from error
    except ValueError as error:
        raise MissingFileError(f"no such file: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableError("this is a folder: give its files, or give the folder to `mtqnet score`")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError(
            "not a regular file but a pipe, socket or device: pass its content on standard input: "
            "mtqnet score - < FILE"
        )
    if status.st_size == 0:
        raise EmptyAudioError("the file is empty (0 bytes): record or copy it again")
    return path


def _os_error(error: OSError) -> MissingFileError | UnreadableError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return MissingFileError("no such file: check the path")
    if isinstance(error, PermissionError):
        return UnreadableError("permission denied: the file cannot be opened by this user")
    return UnreadableError(f"the file cannot be opened: {error.strerror or error}")


class LibsndfileSource:
    """A file that libsndfile decodes."""

    def __init__(
        self, source: _Bytes, container: str | None, inspection: Inspection, raw_subtype: str | None = None
    ) -> None:
        self._source, self._container, self._inspection = source, container, inspection
        self._raw_subtype = raw_subtype
        self.problem = inspection.problem
        with self._open() as file:
            self.rate, self.channels, self._frames = file.samplerate, file.channels, file.frames
            lossy = container in ("mp3", "ogg") or file.subtype.startswith("MPEG")
        self._tolerance_s = SHORTAGE_S if lossy else 0.0
        _check_header(self.rate, self.channels)

    @property
    def declared_s(self) -> float | None:
        if self._container == "mp3":
            return self._inspection.declared_s
        unknown = self._frames >= 1 << 60  # FLAC that was written into a pipe
        return None if unknown else self._frames / self.rate

    def blocks(self) -> Iterator[Samples]:
        """See AudioSource."""
        size = max(1, BLOCK_VALUES // self.channels)
        decoded, failure = 0, None
        messages: list[str] = []
        with self._open() as file:
            while failure is None:
                # A decoder that fails leaves the samples before the damaged place in the buffer.
                expected = min(size, max(self._frames - decoded, END_FRAMES))
                buffer = np.full((expected, self.channels), np.nan, dtype=np.float32)
                try:
                    with _messages(messages if self._container in MAYBE_MP3 else None):
                        block = file.read(dtype="float32", out=buffer)
                except (sf.LibsndfileError, RuntimeError) as error:
                    failure = error
                    block = buffer[: int(np.isfinite(buffer).all(axis=1).argmin())]
                if not len(block):
                    break
                decoded += len(block)
                yield block
        self._judge(decoded, failure, messages)

    def _judge(self, decoded: int, failure: Exception | None, messages: list[str]) -> None:
        """Compare what was decoded with what the header stated."""
        hint = f" (decoder: {messages[0]})" if messages else ""
        advice = f"{hint}; copy or export the file again"
        if not decoded and failure is not None:
            raise UnreadableError(f"the audio data cannot be decoded ({_reason(failure)}){advice}")
        expected_s = self.declared_s
        decoded_s = decoded / self.rate
        if self.problem is not None:
            return
        if expected_s is not None and decoded and decoded_s < expected_s - self._tolerance_s:
            self.problem = (
                f"incomplete: {decoded_s:.2f} s were decoded, its header announces {expected_s:.2f} s{advice}"
            )
        elif failure is not None and expected_s is not None:
            self.problem = f"damaged: decoding stopped after {decoded_s:.2f} s ({_reason(failure)}){advice}"
        elif any("Illegal Audio-MPEG-Header" in line or "resync" in line for line in messages):
            self.problem = f"damaged: parts of it cannot be decoded{advice}"

    @contextmanager
    def _open(self) -> Iterator[sf.SoundFile]:
        raw: dict[str, Any] = {}
        if self._raw_subtype is not None:
            rate = containers.HEADERLESS_RATE
            raw = {"format": "RAW", "subtype": self._raw_subtype, "samplerate": rate, "channels": 1}
        with self._file() as name:
            try:
                with _messages([] if self._container in MAYBE_MP3 else None):
                    file = sf.SoundFile(name, **raw)
            except TypeError as error:  # soundfile expects a rate for a suffix of raw samples
                raise UnreadableError("the file has no header: convert it to WAV") from error
            except (sf.LibsndfileError, OSError, RuntimeError) as error:
                if self._container is None:
                    raise UnreadableError(
                        "not an audio file: its first bytes are those of no known audio format; check the file, or "
                        "convert it to WAV or FLAC"
                    ) from error
                title = containers.TITLES[self._container]
                raise UnreadableError(f"this {title} file cannot be decoded ({_reason(error)})") from error
            with file:
                yield file

    @contextmanager
    def _file(self) -> Iterator[str | bytes | _File]:
        """What soundfile opens: a name, which is faster, or a file object.

        By its name, libsndfile takes any file with a suffix such as .au or .vox for samples without a header.
        """
        path = self._source.path
        if path is not None and self._container is not None and self._inspection.size_field is None:
            # bytes, because a name need not be valid UTF-8
            yield str(path) if os.name == "nt" else os.fsencode(path)
            return
        with self._source.open() as file:
            yield _File(file, self._inspection.size_field)


class _File(io.RawIOBase):
    """A file object for libsndfile: it never raises, because an exception in a callback is printed and lost.

    Args:
        file: Seekable.
        size_field: Position of a WAV data size that is replaced by the one for an unknown size.
    """

    def __init__(self, file: BinaryIO, size_field: int | None) -> None:
        self._file, self._size_field = file, size_field

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._file.tell, lambda: self._file.seek(0, os.SEEK_END))[whence]
        position = offset + (start() if callable(start) else 0)
        with suppress(OSError, ValueError, OverflowError):  # damaged headers lead to impossible positions
            return self._file.seek(position)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        data = bytearray(self._file.read(len(buffer)))
        if self._size_field is not None:
            for place in range(self._size_field - start, self._size_field - start + 4):
                if 0 <= place < len(data):
                    data[place] = 0xFF
        buffer[: len(data)] = data
        return len(data)


class PyAVSource:
    """A file that FFmpeg decodes through PyAV, by the demuxer that its first bytes ask for."""

    def __init__(self, source: _Bytes, container: str, inspection: Inspection) -> None:
        self._source, self._container = source, container
        self.problem = inspection.problem
        try:
            import av
            import av.error
        except ImportError as error:
            raise UnreadableError(
                f"{containers.TITLES[container]} needs an optional decoder: run {install_command('formats')}, "
                "or convert the file: ffmpeg -i FILE FILE.wav"
            ) from error
        self._av: Any = av
        self._errors = (self._av.error.FFmpegError, OSError, ValueError)
        with self._stream() as (_, stream):
            self.rate, self.channels = stream.codec_context.sample_rate, stream.codec_context.channels
            self._declared_s = _stream_seconds(stream, container)
        _check_header(self.rate, self.channels)

    @property
    def declared_s(self) -> float | None:
        return self._declared_s

    def blocks(self) -> Iterator[Samples]:
        """See AudioSource."""
        size, decoded, damaged = max(1, BLOCK_VALUES // self.channels), 0, 0
        waiting: list[Samples] = []
        with self._stream() as (container, stream):
            layout = stream.codec_context.layout
            convert, form = None, None
            for frames, failed in self._decoded(container, stream):
                damaged += failed
                for frame in frames:
                    try:
                        if form != (form := (frame.sample_rate, frame.layout.name, frame.format.name)):
                            # A converter accepts one format only; a stream may change its format.
                            waiting += self._samples(convert, None)
                            convert = self._av.AudioResampler(format="fltp", layout=layout, rate=self.rate)
                        waiting += self._samples(convert, frame)
                    except self._errors:
                        damaged += 1
                if sum(map(len, waiting)) >= size // 4:
                    block, waiting = np.concatenate(waiting), []
                    decoded += len(block)
                    yield from (block[start : start + size] for start in range(0, len(block), size))
            waiting += self._samples(convert, None)
        if waiting:
            block = np.concatenate(waiting)
            decoded += len(block)
            yield block
        self._judge(decoded, damaged)

    def _decoded(self, container: Any, stream: Any) -> Iterator[tuple[list[Any], int]]:
        """Frames of each packet, and 1 where the packet could not be decoded."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._errors:
                yield [], 1
                return
            try:
                yield packet.decode(), 0
            except self._av.error.EOFError:
                return
            except self._errors:
                yield [], 1

    def _samples(self, convert: Any, frame: Any) -> list[Samples]:
        """Convert a frame to (samples, channels) at the rate of the stream; None: what remains in the converter."""
        return [part.to_ndarray().T for part in convert.resample(frame)] if convert is not None else []

    def _judge(self, decoded: int, damaged: int) -> None:
        decoded_s = decoded / self.rate
        if not decoded and damaged:
            raise UnreadableError(f"the audio in this {containers.TITLES[self._container]} file cannot be decoded")
        if self.problem is not None:
            return
        if damaged:
            self.problem = f"damaged: {damaged} packets cannot be decoded"
        elif self._declared_s is not None and decoded and decoded_s < self._declared_s - SHORTAGE_S:
            self.problem = (
                f"incomplete: {decoded_s:.2f} s were decoded, its header announces {self._declared_s:.2f} s"
            )

    @contextmanager
    def _stream(self) -> Iterator[tuple[Any, Any]]:
        title = containers.TITLES[self._container]
        with self._source.open() as file:
            try:
                container = self._av.open(file, format=containers.PYAV_FORMATS[self._container])
            except self._errors as error:
                reason = self.problem or getattr(error, "strerror", None) or _reason(error)
                raise UnreadableError(f"this {title} file cannot be decoded ({reason})") from error
            with container:
                if not container.streams.audio:
                    raise UnreadableError(f"this {title} file has no audio stream")
                stream = container.streams.audio[0]
                if stream.codec_context is None or not stream.codec_context.sample_rate:
                    raise UnreadableError(f"the audio in this {title} file is in an unknown encoding")
                yield container, stream


def _stream_seconds(stream: Any, container: str) -> float | None:
    """Duration that the header of a container states; FFmpeg estimates those of other containers from their size."""
    if container == "matroska":  # of each track in a tag, as most programs write it
        parts = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
        return int(parts[1]) * 3600 + int(parts[2]) * 60 + float(parts[3]) if parts else None
    stated = container in ("mp4", "asf", "avi", "wav", "rf64", "caf", "ogg")
    return float(stream.duration * stream.time_base) if stated and stream.duration else None


class ArraySource:
    """Samples in memory.

    Args:
        array: Shape (samples,) or (samples, channels). Integers are divided by their full scale (int16 by 32768),
            floats are used as they are.
        rate: Sample rate in Hz.

    Raises:
        UsageError: The rate is missing or implausible, or the shape or type is not that of a recording.
    """

    problem: str | None = None

    def __init__(self, array: ArrayLike, rate: float | None) -> None:
        if rate is None:
            raise UsageError("an array needs its sample rate in Hz, for example rate=16000")
        check_rate(rate)
        samples = np.asarray(array)
        if samples.dtype.kind not in "fi" and samples.dtype != np.uint8:
            to_float32(samples)  # raises
        if samples.ndim == 1:
            samples = samples[:, None]
        if samples.ndim != 2 or not samples.shape[1]:
            raise UsageError(f"expected the shape (samples,) or (samples, channels), got {np.shape(array)}")
        if samples.shape[1] > MAX_CHANNELS or 0 < len(samples) < samples.shape[1]:
            raise UsageError(f"shape {np.shape(array)} looks like (channels, samples): pass array.T")
        self._samples = samples
        self.rate, self.channels = rate, samples.shape[1]

    @property
    def declared_s(self) -> float | None:
        return len(self._samples) / self.rate

    def blocks(self) -> Iterator[Samples]:
        """See AudioSource."""
        size = max(1, BLOCK_VALUES // max(1, self.channels))
        for start in range(0, len(self._samples), size):
            yield to_float32(self._samples[start : start + size])


def to_float32(array: NDArray[Any]) -> Samples:
    """Convert samples of any numeric type to float32 with full scale 1.

    Args:
        array: Any shape. Floats are used as they are, signed integers are divided by their full scale, and uint8
            is unsigned PCM with its zero at 128.

    Raises:
        UsageError: The type is not one of these.
    """
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large values become infinite, which is refused later
            return array.astype(np.float32, copy=False)
    if array.dtype.kind == "i":
        scaled: Samples = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
        return scaled
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128.0) / 128.0
    raise UsageError(f"samples of type {array.dtype} are not audio: pass floats or signed integers")


def _check_header(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnreadableError(
            f"the header states a sample rate of {rate} Hz; accepted are {MIN_RATE} to {MAX_RATE} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnreadableError(f"the file has {channels} channels; accepted are 1 to {MAX_CHANNELS}")


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[-1].split(": ")[-1].rstrip(".") if text else "") or type(error).__name__


_DECODER_LINE = re.compile(rb"^(Note: |Warning: |\[src/|\[?libmpg123|mpg123|\s*$)")
"""How the lines begin that libmpg123 writes to standard error"""
_STDERR = threading.RLock()


@contextmanager
def _messages(lines: list[str] | None) -> Iterator[None]:
    """Append what libmpg123 writes to standard error to `lines`, and pass other lines on. Threads take turns.

    Does nothing for None.
    """
    if lines is None:
        yield
        return
    with _STDERR, tempfile.TemporaryFile() as file:
        try:
            original = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        _flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(original, 2)
            os.close(original)
            file.seek(0)
            for line in file:
                if not _DECODER_LINE.match(line):
                    os.write(2, line)
                elif line.strip() and len(lines) < MAX_MESSAGES:
                    lines.append(line.decode(errors="replace").strip())


def _flush() -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
