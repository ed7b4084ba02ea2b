"""Containers: recognising them by their first bytes, and comparing their headers with their content."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

LIBSNDFILE_SUFFIXES = frozenset({
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".w64", ".rf64", ".wve", ".sph", ".nist", ".voc", ".avr",
})  # fmt: skip
"""Suffixes of files that are read without extras"""
G711_SUFFIXES = {".ul": "ULAW", ".ulaw": "ULAW", ".mulaw": "ULAW", ".al": "ALAW", ".alaw": "ALAW"}
"""Suffixes of G.711 samples without a header, and libsndfile's name of their encoding. Mono at HEADERLESS_RATE."""
GSM_SUFFIX, GSM_SUBTYPE, GSM_FRAME = ".gsm", "GSM610", 33
"""GSM full rate (ETSI EN 300 961) without a header: frames of 33 bytes that begin with the bits 1101"""
HEADERLESS_RATE = 8_000
"""Hz, of G.711 and GSM"""
FORMATS_SUFFIXES = frozenset({
    ".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".3g2", ".aac", ".adts", ".amr", ".awb", ".webm", ".weba",
    ".mka", ".mkv", ".wma", ".asf", ".wmv", ".avi", ".flv", ".mp2", ".ac3", ".eac3", ".wv", ".tta", ".ape",
    ".mpg", ".mpeg", ".mts", ".m2ts", ".vob",
})  # fmt: skip
"""Suffixes of audio and video files that need the extra `[formats]`"""
AUDIO_SUFFIXES = LIBSNDFILE_SUFFIXES | frozenset(G711_SUFFIXES) | FORMATS_SUFFIXES
"""Suffixes that a search in a folder treats as recordings. Every one becomes a row, read or with its reason."""
RAW_SUFFIXES = frozenset({".raw", ".pcm", ".sln", ".sln16", ".vox"})
"""Suffixes of samples without a header, whose encoding and rate are unknown"""

HEAD_BYTES = 4096
"""Bytes from the beginning of a file that `container_of` needs"""

PYAV_FORMATS = {
    "mp4": "mov", "matroska": "matroska", "aac": "aac", "amr": "amr", "amr-wb": "amr", "asf": "asf", "avi": "avi",
    "flv": "flv", "ac3": "ac3", "wav": "wav", "rf64": "wav", "caf": "caf", "mp3": "mp3", "wv": "wv", "tta": "tta",
    "ape": "ape", "mpeg": "mpeg", "mpegts": "mpegts", "ogg": "ogg",
    "dts": "dts",
}  # fmt: skip
"""FFmpeg's demuxer for each container. Naming it keeps FFmpeg from guessing formats that open other files, such
as playlists."""

TITLES = {
    "wav": "WAV", "rf64": "RF64", "w64": "W64", "aiff": "AIFF", "au": "AU", "caf": "CAF", "flac": "FLAC",
    "ogg": "Ogg", "mp3": "MP3", "mp4": "MP4/M4A/3GP", "matroska": "WebM/Matroska", "aac": "AAC (ADTS)",
    "amr": "AMR", "amr-wb": "AMR-WB", "asf": "WMA/ASF", "avi": "AVI", "flv": "FLV", "ac3": "AC-3", "voc": "VOC",
    "nist": "NIST SPHERE", "avr": "AVR", "wv": "WavPack", "tta": "TTA", "ape": "Monkey's Audio",
    "mpeg": "MPEG program stream", "mpegts": "MPEG transport stream", "dts": "DTS", "svx": "8SVX", "paf": "PAF",
    "pvf": "PVF", "wve": "Psion WVE", "mat5": "MATLAB", "ircam": "IRCAM",
}  # fmt: skip
"""Names of the containers in messages"""

TS_PACKET = 188
"""Bytes of a packet of an MPEG transport stream, which begins with 0x47"""
_ASF_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_W64_GUID = bytes.fromhex("726966662e91cf11a5d628db04c10000")


def container_of(data: bytes) -> str | None:
    """Recognise an audio or video container by its first bytes.

    Args:
        data: The beginning of the file, HEAD_BYTES or more. Fewer bytes are accepted; they may be insufficient to
            recognise MP3 and AAC, which have no signature and are recognised by two consecutive frames.

    Returns:
        A key of TITLES, or None for bytes that may be raw samples.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    for prefix, name in _SIGNATURES:
        if data.startswith(prefix):
            return name
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if data[:4] == b"FORM" and data[8:12] in (b"8SVX", b"16SV"):
        return "svx"
    if data[4:8] in _MP4_BOXES and len(data) >= 12:
        return "mp4"
    if data[:3] == b"ID3":
        return container_of(data[_id3_bytes(data) :]) or "mp3"
    for offset in (0, 4):  # Blu-ray discs and camcorders write four bytes in front of each packet
        if len(data) > 10 * TS_PACKET and set(data[offset : 9 * (TS_PACKET + offset) : TS_PACKET + offset]) == {
            0x47
        }:
            return "mpegts"
    if _frames(data, _mp3_frame_bytes)[0] == 2:
        return "mp3"
    return "aac" if _frames(data, _aac_frame_bytes)[0] == 2 else None


_SIGNATURES = (
    (b"RIFF", "wav"), (b"RIFX", "wav"), (b"RF64", "rf64"), (b"BW64", "rf64"), (_W64_GUID, "w64"),
    (b"fLaC", "flac"), (b"OggS", "ogg"), (b".snd", "au"), (b"dns.", "au"), (b"caff\0\1", "caf"),
    (b"\x1aE\xdf\xa3", "matroska"), (b"\x1fC\xb6u", "matroska"), (b"#!AMR-WB", "amr-wb"),
    (b"#!AMR", "amr"), (_ASF_GUID, "asf"),
    (b"FLV\1", "flv"), (b"Creative Voice File", "voc"), (b"NIST_1A", "nist"), (b"2BIT", "avr"),
    (b" paf", "paf"), (b"fap ", "paf"), (b"PVF1", "pvf"), (b"ALawSoundFile", "wve"),
    (b"MATLAB 5.0 MAT-file", "mat5"), (b"\x7f\xfe\x80\1", "dts"),
    *((bytes((0x64, 0xA3, number, 0)), "ircam") for number in range(5)),
    *((bytes((0, number, 0xA3, 0x64)), "ircam") for number in range(5)),
    (b"\x0b\x77", "ac3"), (b"wvpk", "wv"), (b"TTA1", "tta"), (b"MAC ", "ape"), (b"\0\0\1\xba", "mpeg"),
)  # fmt: skip


_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"sidx", b"wide", b"skip", b"free")
"""First boxes of MP4 files, and of the fragments that follow the first one of a live recording"""
OTHER_CONTENT = (
    (b"\x1f\x8b\x08", "gzip data"), (b"PK\3\4", "a ZIP archive"), (b"BZh", "bzip2 data"), (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"), (b"Rar!", "a RAR archive"),
    (b"%PDF-", "a PDF file"), (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"),
    (b"Extended Instrument: ", "a tracker instrument"),
    (b"SQLite format 3", "a SQLite database"), (b"wOFF", "a font"), (b"\x7fELF", "a program"),
)  # fmt: skip
"""First bytes of files that are no audio, and what they are"""
MP3_IN_A_ROW, AAC_IN_A_ROW = 3, 5
"""Frames that are recognised behind other bytes, as in a stream that was joined in the middle. The header of an MPEG
frame is longer than that of an ADTS frame."""
MIN_TEXT = 64
"""Bytes that are needed to recognise text"""


def content_of(data: bytes) -> str | None:
    """Describe bytes that are not raw samples.

    Args:
        data: The beginning of the file or stream, HEAD_BYTES or more.

    Returns:
        What the bytes are, for a message, such as "a WAV file" or "text"; None for bytes that may be raw samples.
    """
    container = container_of(data)
    if container is not None:
        return f"a {TITLES[container]} file"
    for prefix, title in OTHER_CONTENT:
        if data.startswith(prefix):
            return title
    head = data[:HEAD_BYTES]
    if any(mark in head for mark in (b"WAVEfmt ", b"ftyp", *_FLAC_HEADS)):
        return "an audio file with other bytes in front of it"
    if b"OggS\0" in head or _joined_stream(data):
        return "a part of a compressed stream"
    return "text" if _is_text(data) else None


def headerless_subtype(data: bytes, suffix: str) -> str | None:
    """Return libsndfile's name for the encoding of a file without a header.

    Args:
        data: The beginning of the file, HEAD_BYTES or more.
        suffix: Suffix of its name in lower case.

    Returns:
        None where suffix and content are not those of such a file.
    """
    if suffix in G711_SUFFIXES and content_of(data) is None:
        return G711_SUFFIXES[suffix]
    frames = data[::GSM_FRAME]
    if suffix == GSM_SUFFIX and frames and all(byte >> 4 == 0xD for byte in frames):
        return GSM_SUBTYPE
    return None


def _joined_stream(data: bytes) -> bool:
    """Whether several MPEG or AAC frames follow each other, from any position."""
    starts = [match.start() for match in re.finditer(b"\xff", data)]
    return any(
        _frames(data, frame_bytes, start, count)[0] == count
        for frame_bytes, count in ((_mp3_frame_bytes, MP3_IN_A_ROW), (_aac_frame_bytes, AAC_IN_A_ROW))
        for start in starts
    )


def _is_text(data: bytes) -> bool:
    """Whether the bytes are lines of text in UTF-8, such as an error page of a server."""
    if len(data) < MIN_TEXT or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in data):
        return False
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3  # cut within a character
    return True


def _id3_bytes(data: bytes) -> int:
    """Length of an ID3v2 tag with its header, as the tag states it."""
    if len(data) < 10:
        return len(data)
    return 10 + sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(reversed(data[6:10])))


_KBIT = {
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by (version, layer) as the header codes them: version 3 is MPEG-1, layer 1 is Layer III, 2 is Layer II"""
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz by version; version 0 is MPEG-2.5"""


def _mp3_frame_bytes(data: bytes) -> int:
    """Length of the MPEG audio frame at the beginning; 0 where there is none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    rate_code, bitrate_code = data[2] >> 2 & 3, data[2] >> 4
    if version == 1 or layer not in (1, 2) or rate_code == 3 or bitrate_code in (0, 15):
        return 0
    bits = _KBIT[(3 if version == 3 else 2, layer)][bitrate_code] * 1000
    coefficient = 72 if layer == 1 and version != 3 else 144
    return coefficient * bits // _MPEG_RATES[version][rate_code] + (data[2] >> 1 & 1)


def _aac_frame_bytes(data: bytes) -> int:
    """Length of the ADTS frame at the beginning; 0 where there is none."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return 0
    return (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5


def _frames(data: bytes, frame_bytes: Callable[[bytes], int], at: int = 0, most: int = 2) -> tuple[int, int]:
    """Number of frames in a row from a position, at most `most`, and the position after them."""
    count = 0
    while count < most and (length := frame_bytes(data[at : at + 7])):
        at, count = at + length, count + 1
    return count, at


@dataclass(frozen=True)
class Inspection:
    """What the bytes of a file reveal without decoding it."""

    problem: str | None = None
    """Why the file is probably incomplete; None where header and content agree."""
    size_field: int | None = None
    """Position of a WAV data size that is 0 although samples follow it, as after a recorder that crashed."""
    declared_s: float | None = None
    """Duration in seconds that an MP3 header states"""


def inspect(file: BinaryIO, container: str | None) -> Inspection:
    """Compare the header of a container with the bytes that follow it.

    Args:
        file: Seekable; the position is changed.
        container: Result of `container_of`.

    Returns:
        What was found. Containers without sizes or checks give an empty Inspection.
    """
    if container in _INSPECTORS:
        return _INSPECTORS[container](file)
    end_of, exact = _ENDS.get(container or "", (lambda _: 0, False))
    end = end_of(file)
    return _inspect_sized(file, end, exact=exact) if 0 < end < 1 << 62 else Inspection()


def _size(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _w64_end(file: BinaryIO) -> int:
    """W64: the size of the file."""
    file.seek(16)
    return int.from_bytes(file.read(8), "little")


def _au_end(file: BinaryIO) -> int:
    """AU: position and size of the samples; both byte orders."""
    file.seek(0)
    head = file.read(12).ljust(12, b"\0")
    offset, length = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:])
    return 0 if length in (0, 0xFFFFFFFF) else offset + length


def _nist_end(file: BinaryIO) -> int:
    """NIST SPHERE: lines of text in a header whose second line is its length in bytes."""
    file.seek(0)
    words = file.read(1024).decode("ascii", "replace").split()
    try:
        samples, channels, width = (
            int(words[words.index(name) + 2]) for name in ("sample_count", "channel_count", "sample_n_bytes")
        )
        return int(words[1]) + samples * channels * width if samples > 0 else 0
    except (ValueError, IndexError):
        return 0


def _avr_end(file: BinaryIO) -> int:
    """AVR: a header of 128 bytes with channels, bits and number of samples per channel."""
    file.seek(12)
    channels, bits, _, frames = struct.unpack(">HH10sI", file.read(18).ljust(18, b"\0"))
    return 128 + int(frames) * (2 if channels else 1) * (int(bits) // 8)


def _avi_end(file: BinaryIO) -> int:
    """AVI: the size of its RIFF chunk; further chunks of this kind may follow."""
    file.seek(4)
    length = int.from_bytes(file.read(4), "little")
    return 0 if length >= UNKNOWN_SIZE else 8 + length


def _matroska_end(file: BinaryIO) -> int:
    """Matroska: the size of its segment, the element that follows the EBML header; live recordings state none."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    at = 4
    for segment in (False, True):
        if segment and head[at : at + 4] != b"\x18\x53\x80\x67":
            return 0
        at += 4 if segment else 0
        width = 9 - head[at].bit_length() if at < len(head) and head[at] else 9
        length = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
        at += width
        if at > len(head) or width > 8 or length == (1 << 7 * width) - 1:
            return 0
        at += 0 if segment else length
    return at + length


def _asf_end(file: BinaryIO) -> int:
    """ASF: the size of the file in the object of file properties; a live recording states 0."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    at = head.find(_ASF_PROPERTIES)
    return int.from_bytes(head[at + 40 : at + 48], "little") if 0 <= at <= len(head) - 48 else 0


_ENDS: dict[str, tuple[Callable[[BinaryIO], int], bool]] = {
    "w64": (_w64_end, True), "au": (_au_end, True), "nist": (_nist_end, True), "avr": (_avr_end, True),
    "avi": (_avi_end, False), "matroska": (_matroska_end, False), "asf": (_asf_end, False),
}  # fmt: skip
"""Where the recording ends by its header, 0 if it states nothing; and whether nothing but zeros may follow"""


def _inspect_caf(file: BinaryIO) -> Inspection:
    """CAF: chunks with a name of four characters and a size of 8 bytes; -1 is an unknown size."""
    size, at = _size(file), 8
    for _ in range(1000):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return Inspection()
        length = struct.unpack(">q", head[4:])[0]
        if head[:4] == b"caff":
            return Inspection(MORE_FOLLOWS)
        if head[:4] == b"data" and length > size - at - 12:
            return Inspection(_missing(length - (size - at - 12), length))
        if not 0 <= length <= size:
            return Inspection()
        at += 12 + length
    return Inspection()


def _inspect_voc(file: BinaryIO) -> Inspection:
    """VOC: blocks of a type and a size of 3 bytes; type 0 ends the file."""
    size = _size(file)
    file.seek(20)
    at = int.from_bytes(file.read(2), "little")
    for _ in range(100_000):
        file.seek(at)
        head = file.read(4)
        if head[:1] == b"\0":
            return _inspect_sized(file, at + 1, exact=True)
        if not head:  # libsndfile writes no block that ends the file
            return Inspection()
        if len(head) < 4:
            return Inspection("incomplete: the end of its last block is missing")
        at += 4 + int.from_bytes(head[1:], "little")
        if at > size:
            return Inspection(_missing(at - size, at))
    return Inspection()


def _inspect_sized(file: BinaryIO, end: int, *, exact: bool = False) -> Inspection:
    """Compare the end that a header states with the size of the file; `exact`: nothing but zeros may follow."""
    size = _size(file)
    if size < end:
        return Inspection(_missing(end - size, end))
    file.seek(end)
    if exact and size - end > SLACK_BYTES and any(file.read(HEAD_BYTES)):
        return Inspection(f"{size - end:,} bytes follow the audio data that its header announces")
    return Inspection()


MORE_FOLLOWS = "another recording follows in the same file; it was not read"
SLACK_BYTES = 8
"""Bytes that may follow the samples without being mentioned in the header"""


def _inspect_flac(file: BinaryIO) -> Inspection:
    """FLAC: a decoder stops after the samples that the header states; a second header must not follow."""
    file.seek(0)
    found, rest = 0, b""
    while block := file.read(1 << 20):
        data = rest + block
        found += sum(data.count(head) for head in _FLAC_HEADS)
        rest = data[-7:]
    return Inspection(MORE_FOLLOWS if found > 1 else None)


_FLAC_HEADS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
"""Signature of FLAC and the beginning of its first metadata block, which has 34 bytes and may be the only one"""


def _inspect_mp4(file: BinaryIO) -> Inspection:
    """MP4: boxes with a size of 4 or 8 bytes and a name of four characters; size 0 is the rest of the file."""
    size, at, movie = _size(file), 0, False
    for _ in range(100_000):  # a live recording has two boxes per fragment
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, name = struct.unpack(">I", head[:4])[0], head[4:8]
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        if length == 0 or length < 8 or not all(32 <= byte < 127 for byte in name):
            break
        if name == b"moov" and movie:
            return Inspection(MORE_FOLLOWS)
        movie = movie or name == b"moov"
        at += length
    return Inspection(_missing(at - size, at) if size < at < 1 << 62 else None)


def _inspect_flv(file: BinaryIO) -> Inspection:
    """FLV: each tag is followed by its length, also the last one."""
    size = _size(file)
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= size - 17:
        return Inspection("incomplete: its last tag is cut off")
    file.seek(size - 4 - length + 1)
    complete = int.from_bytes(file.read(3), "big") + 11 == length
    return Inspection(None if complete else "incomplete: its last tag is cut off")


def _missing(missing: int, expected: int) -> str:
    return f"incomplete: {missing:,} of {expected:,} bytes are missing that its header announces"


UNKNOWN_SIZE = 0x7FFFF000 - 64
"""Bytes. Data sizes from here on, in files that are shorter, are placeholders of programs that wrote into a pipe:
0xFFFFFFFF (FFmpeg), 0x7FFFF000 (SoX), 0x7FFFFFFF."""


def _inspect_chunks(file: BinaryIO) -> Inspection:
    """WAV, RF64 and AIFF: chunks with a name of four characters and a size."""
    size = _size(file)
    file.seek(0)
    start = _id3_bytes(head) if (head := file.read(10))[:3] == b"ID3" else 0
    file.seek(start)
    form = file.read(12)[:4]
    order = ">" if form in (b"FORM", b"RIFX") else "<"
    long_size: int | None = None
    for _ in range(1000):  # a header that is longer is not inspected
        head = file.read(8)
        if len(head) < 8:
            return Inspection()
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        at = file.tell()
        if name == b"ds64":
            long_size = struct.unpack("<Q", file.read(24)[8:16].ljust(8, b"\0"))[0]
        if name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and long_size is not None:
                length = long_size
            return _inspect_data(file, at, length, size, order)
        file.seek(at + length + length % 2)
    return Inspection()


def _inspect_data(file: BinaryIO, at: int, length: int, size: int, order: str) -> Inspection:
    """The chunk of samples, which begins at byte `at`."""
    available = size - at
    if length == 0 and available > 0 and not _chunks_follow(file, at, size, order):
        return Inspection(size_field=at - 4)
    if length > available:
        return Inspection(
            None if length >= UNKNOWN_SIZE and length < 1 << 32 else _missing(length - available, length)
        )
    end = at + length + length % 2
    if size - end > SLACK_BYTES and not _chunks_follow(file, end, size, order):
        return Inspection(f"{size - end:,} bytes follow the audio data that its header announces")
    return Inspection()


def _chunks_follow(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Whether the bytes from `at` are chunks: printable names, and sizes that fit."""
    while size - at > SLACK_BYTES:
        file.seek(at)
        head = file.read(8)
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if head == bytes(8):
            return not any(file.read(1 << 16))  # padding
        if not all(32 <= byte < 127 for byte in name) or at + 8 + length > size + 1:
            return False
        if name in (b"RIFF", b"RIFX", b"FORM"):  # another file
            return False
        at += 8 + length + length % 2
    return True


def _inspect_ogg(file: BinaryIO) -> Inspection:
    """Ogg: pages are numbered, and the last one of a stream is marked (RFC 3533). Bytes between pages end the check."""
    size, at = _size(file), 0
    last: dict[int, int] = {}
    ended: set[int] = set()
    file.seek(0)
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        serial, number = struct.unpack("<II", head[14:22])
        lengths = file.read(head[26])
        at += 27 + head[26] + sum(lengths)
        if len(lengths) < head[26] or at > size:
            break  # the page is cut off
        if serial in last and number != last[serial] + 1:
            return Inspection(f"damaged: Ogg page {last[serial] + 1} is missing")
        last[serial] = number
        if head[5] & 4:
            ended.add(serial)
        elif serial in ended:
            return Inspection("damaged: Ogg pages follow the end of their stream")
        file.seek(at)
    return Inspection(None if set(last) == ended else "incomplete: the last page of its Ogg stream is missing")


def _inspect_mp3(file: BinaryIO) -> Inspection:
    """MPEG audio: a Xing or Info header in the first frame states the number of frames and bytes."""
    file.seek(0)
    head = file.read(10)
    at = _id3_bytes(head) if head[:3] == b"ID3" else 0
    file.seek(at)
    data = file.read(HEAD_BYTES)
    start = next((place for place in range(len(data) - 4) if _frames(data, _mp3_frame_bytes, place)[0] == 2), None)
    cut = Inspection("incomplete: its last frame is cut off" if _last_frame_is_cut(file) else None)
    if start is None:
        return cut
    frame = data[start:]
    version, mono = frame[1] >> 3 & 3, frame[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    tag = frame[4 + side :][:16]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16 or not tag[7] & 1:
        return cut
    frames, size = struct.unpack(">II", tag[8:])
    seconds = float(frames * (1152 if version == 3 else 576) / _MPEG_RATES[version][frame[2] >> 2 & 3])
    more = bool(tag[7] & 2) and _mpeg_follows(file, at + start + size)
    return Inspection(MORE_FOLLOWS if more else cut.problem, declared_s=seconds)


def _mpeg_follows(file: BinaryIO, at: int) -> bool:
    """Whether MPEG frames, or an ID3v2 tag with frames, begin at a position."""
    file.seek(at)
    if (head := file.read(10))[:3] == b"ID3":
        at += _id3_bytes(head)
    file.seek(at)
    return _frames(file.read(MP3_IN_A_ROW * HEAD_BYTES), _mp3_frame_bytes, 0, MP3_IN_A_ROW)[0] == MP3_IN_A_ROW


def _last_frame_is_cut(file: BinaryIO) -> bool:
    """Whether the file ends within an MPEG frame that follows several others."""
    file.seek(max(0, _size(file) - 4 * HEAD_BYTES))
    data = file.read()
    for match in re.finditer(b"\xff", data[:-4]):
        count, end = _frames(data, _mp3_frame_bytes, match.start(), len(data))
        if count >= MP3_IN_A_ROW:
            return end > len(data)
    return False


_INSPECTORS: dict[str, Callable[[BinaryIO], Inspection]] = {
    "wav": _inspect_chunks, "rf64": _inspect_chunks, "aiff": _inspect_chunks, "caf": _inspect_caf, "mp4": _inspect_mp4,
    "flv": _inspect_flv, "flac": _inspect_flac, "voc": _inspect_voc, "mp3": _inspect_mp3, "ogg": _inspect_ogg,
}  # fmt: skip
