"""Fuzz the reading and analysis of audio with atheris: `python -m research.fuzz.audio SECONDS FOLDER`.

The fuzzer starts from small valid files of every container and mutates them. An input passes if it is read or refused
with an AudioError. Any other exception, an input that takes more than 20 s, and a process of more than 1 GB end the
run; the input is stored in FOLDER. FOLDER/corpus keeps the inputs that reached new code.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

with atheris.instrument_imports(include=["mtqnet.audio", "soundfile"]):
    from mtqnet.audio.analysis import analyse
    from mtqnet.audio.decoding import open_source
    from mtqnet.audio.reading import signals
    from mtqnet.errors import AudioError

import numpy as np
import soundfile as sf

SEEDS = {
    "wav": ("WAV", "PCM_16"), "float": ("WAV", "FLOAT"), "ima": ("WAV", "IMA_ADPCM"), "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "ULAW"), "caf": ("CAF", "ALAC_16"),
    "flac": ("FLAC", "PCM_16"), "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
    "voc": ("VOC", "PCM_16"), "nist": ("NIST", "PCM_16"),
}  # fmt: skip
"""libsndfile's format and encoding of the files that the fuzzer starts from"""
SEED_S = 0.6
"""Seconds; a little more than the shortest recording that is scored"""
MAX_BYTES = 65_536
MAX_S = 20
"""Seconds that one input may take"""
MAX_MB = 1024


def write_seeds(folder: Path) -> None:
    """Write a small valid file of every container."""
    folder.mkdir(parents=True, exist_ok=True)
    rate = 16_000
    time = np.arange(round(SEED_S * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 300 * time) * (time % 0.25 < 0.2)
    for name, (container, encoding) in SEEDS.items():
        file = io.BytesIO()
        sf.write(file, np.stack([sound, 0.5 * sound], axis=1), rate, format=container, subtype=encoding)
        (folder / name).write_bytes(file.getvalue())


def test_one_input(data: bytes) -> None:
    """Read and analyse every channel of an input."""
    try:
        source = open_source(data)
        for signal in signals(source, "each")[:2] + signals(source, "mix"):
            analysed = analyse(signal, hold_s=1.0)
            assert 0 <= analysed.analysis.start < analysed.analysis.stop <= analysed.analysis.samples
    except AudioError:
        pass


def main() -> None:
    """Run the fuzzer for the given time."""
    seconds, folder = int(sys.argv[1]), Path(sys.argv[2])
    write_seeds(folder / "corpus")
    options = [
        sys.argv[0], str(folder / "corpus"), f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={MAX_S}",
        f"-rss_limit_mb={MAX_MB}", f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(options, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
