"""Behaviour of mtqnet, DNSMOS and Distill-MOS on unusual inputs: a score, a refusal, or an exception.

    python -m research.robustness.same_inputs --peers .venv-peers/bin/python --output docs/results/same_inputs.csv

The inputs are generated from the example recordings. DNSMOS (speechmos) is called with the path of the file, as its
documentation suggests; Distill-MOS with samples read by soundfile, as its command line does.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf

RECORDING = Path(__file__).resolve().parents[2] / "examples/recordings/1_clean.flac"
RATE = 16_000
TIME_LIMIT_S = 240
"""Seconds for all inputs of another predictor"""

PEER = """
import json, sys, types, warnings
warnings.simplefilter("ignore")
import numpy as np, soundfile as sf
name, files = sys.argv[1], sys.argv[2:]
if name == "dnsmos":
    from speechmos import dnsmos
    def score(path):
        samples, rate = sf.read(path)
        return dnsmos.run(samples, rate)["ovrl_mos"]
else:
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch
    from distillmos import ConvTransformerSQAModel
    model = ConvTransformerSQAModel().eval()
    def score(path):
        samples, rate = sf.read(path, dtype="float32", always_2d=True)
        with torch.inference_mode():
            return float(model(torch.from_numpy(samples[:, :1].T.copy()))[0])
for path in files:
    try:
        value = float(score(path))
        print(json.dumps(f"{value:.2f}" if value == value else "NaN"), flush=True)
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}"), flush=True)
"""


def inputs(folder: Path) -> dict[str, Path]:
    """Write the inputs; return their descriptions and paths."""
    speech, _ = sf.read(RECORDING, dtype="float32")
    random = np.random.default_rng(0)
    silence = np.zeros(2 * RATE, np.float32)
    spoiled = speech.copy()
    spoiled[1000] = np.nan
    files: dict[str, tuple[np.ndarray, int]] = {
        "speech (for comparison)": (speech, RATE),
        "digital silence, 2 s": (silence, RATE),
        "one NaN sample": (spoiled, RATE),
        "white noise without speech": (0.1 * random.standard_normal(4 * RATE).astype(np.float32), RATE),
        "0.1 s of speech": (speech[RATE : RATE + 1600], RATE),
        "two parties, one per channel": (np.stack([speech, np.roll(speech, RATE) * 0.1], axis=1), RATE),
        "constant 0.5 (DC)": (silence + 0.5, RATE),
        "speech at 8 kHz": (speech[::2], RATE // 2),
    }
    paths = {}
    for number, (name, (samples, rate)) in enumerate(files.items()):
        paths[name] = folder / f"{number}.wav"
        sf.write(paths[name], samples, rate, subtype="FLOAT")
    half = folder / "half.wav"
    content = paths["speech (for comparison)"].read_bytes()
    half.write_bytes(content[: len(content) // 2])
    text = folder / "text.wav"
    text.write_text("This is not audio.\n" * 100)
    empty = folder / "empty.wav"
    sf.write(empty, np.zeros(0, np.float32), RATE)
    return {**paths, "truncated WAV": half, "text file named .wav": text, "no samples": empty}


def ours(paths: list[Path]) -> list[str]:
    """Return G-MOS and flags, or the reason, of each file."""
    import mtqnet

    results = []
    for scores in mtqnet.load("base").score_files(paths):
        if scores.g_mos is None:
            results.append(f"refused: {' '.join(scores.flags)}")
        else:
            results.append(" ".join([f"{scores.g_mos:.2f}", *scores.flags]))
    return results


def theirs(python: Path, name: str, paths: list[Path]) -> list[str]:
    """Return the outcomes of another predictor."""
    command = [str(python), "-c", PEER, name, *map(str, paths)]
    try:
        output = subprocess.run(command, capture_output=True, check=False, timeout=TIME_LIMIT_S).stdout
        end = "the process ended"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"no result within {TIME_LIMIT_S} s"
    results = [json.loads(line) for line in output.decode().splitlines() if line.startswith('"')]
    return results + [end] * (len(paths) - len(results))


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/same_inputs.csv"))
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        files = inputs(Path(name))
        paths = list(files.values())
        columns = [ours(paths), theirs(options.peers, "dnsmos", paths), theirs(options.peers, "distillmos", paths)]
    with options.output.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["input", "mtqnet base, G-MOS", "DNSMOS, OVRL", "Distill-MOS"])
        writer.writerows(zip(files, *columns, strict=True))
    sys.stdout.write(options.output.read_text())


if __name__ == "__main__":
    main()
