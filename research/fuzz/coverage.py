"""Fuzz the readers of untrusted input with atheris: `python -m research.fuzz.coverage TARGET SECONDS FOLDER`.

TARGET is audio, table, record or messages (inputs.py). The fuzzer starts from small valid inputs and mutates them. An
input passes if it is read or refused as documented. Any other exception, an input that takes more than 20 s, and a
process of more than 1 GB end the run; the input is stored in FOLDER. FOLDER/corpus keeps the inputs that reached new
code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

with atheris.instrument_imports(include=["mtqnet", "soundfile", "json"]):
    from research.fuzz.inputs import TARGETS

MAX_BYTES = 65_536
MAX_S = 20
"""Seconds that one input may take"""
MAX_MB = 1024


def main() -> None:
    """Run the fuzzer for the given time."""
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    read, seeds = TARGETS[name]
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (folder / "corpus" / f"seed{number}").write_bytes(seed)
    options = [
        sys.argv[0], str(folder / "corpus"), f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={MAX_S}",
        f"-rss_limit_mb={MAX_MB}", f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup(options, read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
