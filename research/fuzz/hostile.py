"""Score hostile audio files and write a table of the outcomes: `python -m research.fuzz.hostile --output FILE.md`.

The files are made from small valid files of every container: cut off, with flipped bits in header and body, with
overwritten parts, and WAV, AU and FLAC headers with implausible fields. All random choices are fixed.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

import mtqnet

RATE = 16_000
FORMATS = {
    "wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "ima.wav": ("WAV", "IMA_ADPCM"),
    "ms.wav": ("WAV", "MS_ADPCM"), "ex.wav": ("WAVEX", "PCM_16"), "rf64": ("RF64", "PCM_16"), "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"), "caf": ("CAF", "PCM_16"), "alac.caf": ("CAF", "ALAC_16"),
    "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "voc": ("VOC", "PCM_16"), "nist": ("NIST", "PCM_16"), "avr": ("AVR", "PCM_16"),
}  # fmt: skip
"""libsndfile's format and encoding, by suffix"""
HEADER = 96
"""Bytes in which header mutations are made"""
SPEECH = Path(__file__).resolve().parents[2] / "examples/recordings/1_clean.flac"


def files() -> Iterator[tuple[str, str, bytes]]:
    """Yield (kind, name, content) of every file, always the same."""
    speech = sf.read(SPEECH, dtype="float32")[0][: 2 * RATE]
    for suffix, (container, encoding) in FORMATS.items():
        file = io.BytesIO()
        sf.write(file, speech, RATE, format=container, subtype=encoding)
        yield from _mutations(suffix, file.getvalue())
    yield from _headers((speech * 32767).astype("<i2").tobytes())
    yield from _values(speech)


def _mutations(suffix: str, data: bytes) -> Iterator[tuple[str, str, bytes]]:
    for end in (4, 12, 44, len(data) // 2, len(data) - 1):
        yield "cut off", f"cut{end}.{suffix}", data[:end]
    for seed in range(4):
        choice = random.Random(f"{suffix}{seed}")
        for kind, count, low in (("bits of the header flipped", 4, 0), ("bits of the body flipped", 64, HEADER)):
            changed = bytearray(data)
            for _ in range(count):
                end = min(HEADER, len(data)) if low == 0 else len(data)
                changed[choice.randrange(min(low, len(data) - 1), end)] ^= 1 << choice.randrange(8)
            yield kind, f"{kind[8:12].strip()}{seed}.{suffix}", bytes(changed)
    third = len(data) // 3
    yield "parts overwritten", f"zeros.{suffix}", data[:third] + bytes(len(data) - third)
    yield "parts overwritten", f"ones.{suffix}", data[:40] + b"\xff" * (len(data) - 40)
    noise = random.Random(suffix).randbytes(200)
    yield "parts overwritten", f"noise.{suffix}", data[:third] + noise + data[third + 200 :]


def _wav(
    data: bytes, rate: int = RATE, channels: int = 1, bits: int = 16, tag: int = 1, size: int | None = None
) -> bytes:
    align = channels * bits // 8 & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    sizes = struct.pack("<I", (len(data) if size is None else size) & 0xFFFFFFFF)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt \x10\0\0\0" + form + b"data" + sizes + data


def _headers(data: bytes) -> Iterator[tuple[str, str, bytes]]:
    kind = "implausible header"
    for rate in (0, 1, 3999, 768_001, 10_000_000, 2**31 - 1, 2**32 - 1):
        yield kind, f"rate{rate}.wav", _wav(data, rate=rate)
    for channels in (0, 65, 255, 1025, 65_535):
        yield kind, f"channels{channels}.wav", _wav(data, channels=channels)
    for bits in (0, 1, 7, 33, 255, 65_535):
        yield kind, f"bits{bits}.wav", _wav(data, bits=bits)
    for tag in (0, 2, 3, 6, 7, 0x11, 0x31, 0x40, 0x45, 0x55, 0xFFFE, 0x1234):
        yield kind, f"tag{tag:x}.wav", _wav(data, tag=tag)
    for size in (0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1):
        yield kind, f"size{size}.wav", _wav(data, size=size)
    flac = io.BytesIO()
    sf.write(flac, np.frombuffer(data, "<i2"), RATE, format="FLAC")
    for rate, channels, total in (
        (RATE, 1, 0),
        (RATE, 1, 2**36 - 1),
        (RATE, 8, 32_000),
        (655_350, 8, 2**35),
        (1, 1, 9),
    ):
        edited = bytearray(flac.getvalue())
        edited[18:26] = (rate << 44 | channels - 1 << 41 | 15 << 36 | total).to_bytes(8, "big")
        yield kind, f"flac{rate}_{channels}_{total}.flac", bytes(edited)
    for encoding in (1, 6, 7, 23, 99):
        yield (
            kind,
            f"encoding{encoding}.au",
            b".snd" + struct.pack(">IIIII", 24, len(data), encoding, RATE, 1) + data,
        )
    yield kind, "chunks.wav", b"RIFF" + struct.pack("<I", 2**31) + b"WAVE" + (b"LIST\0\0\0\0") * 100_000
    yield kind, "id3.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + data
    yield "other content", "page.wav", b"<html>404</html>"
    yield "other content", "playlist.mp3", b"#EXTM3U\nfile:///etc/passwd\n"
    yield "other content", "zeros.flac", bytes(4096)
    yield "other content", "empty.wav", b""


def _values(speech: np.ndarray) -> Iterator[tuple[str, str, bytes]]:
    for value in (np.nan, np.inf, 1e30, 3e38, 1e-40):
        one = speech.copy()
        one[1000] = value
        yield "extreme samples", f"one_{value}.wav", _wav(one.astype("<f4").tobytes(), bits=32, tag=3)
        everywhere = np.full(len(speech), value, "<f4").tobytes()
        yield "extreme samples", f"all_{value}.wav", _wav(everywhere, bits=32, tag=3)
    for gain in (1e6, 1e19, 1e37):
        yield (
            "extreme samples",
            f"gain_{gain:g}.wav",
            _wav((speech * gain).astype("<f4").tobytes(), bits=32, tag=3),
        )


def main() -> None:
    """Score all files and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--model", default="small", help="model that scores the files")
    options = parser.parse_args()
    predictor = mtqnet.load(options.model, threads=1, track=False)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    slowest_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind, name, data in files():
            path = Path(folder) / name
            path.write_bytes(data)
            begin = time.monotonic()
            outcomes[kind][_outcome(predictor, path)] += 1
            slowest_s = max(slowest_s, time.monotonic() - begin)
    options.output.write_text(_page(outcomes, slowest_s), encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


def _outcome(predictor: mtqnet.Predictor, path: Path) -> str:
    try:
        scores = predictor.score(path)
    except Exception as error:  # the table counts what must not happen
        return f"exception {type(error).__name__}"
    if scores.error is not None:
        return "refused with a reason"
    return "scored, flagged as truncated" if "truncated" in scores.flags else "scored"


def _page(outcomes: dict[str, Counter[str]], slowest_s: float) -> str:
    columns = sorted({outcome for counts in outcomes.values() for outcome in counts})
    status = Path("/proc/self/status")
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024 if status.exists() else 0
    rows = [["files", "number", *columns], ["---"] * (len(columns) + 2)]
    rows += [[kind, str(counts.total()), *(str(counts[c]) for c in columns)] for kind, counts in outcomes.items()]
    total = sum(outcomes.values(), Counter[str]())
    rows += [["all", str(total.total()), *(str(total[c]) for c in columns)]]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return (
        "# Hostile audio files\n\nMade and scored by `make hostile` (`research/fuzz/hostile.py`). Bits that are "
        "flipped in samples without a checksum (PCM) cannot be detected; such files are scored.\n\n"
        f"{table}\nSlowest file: {slowest_s:.1f} s. Peak memory of the process: {peak} MB.\n"
    )


if __name__ == "__main__":
    main()
