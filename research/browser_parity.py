"""Recordings with the scores of the Python package, against which scoring in the browser is tested.

python -m research.browser_parity FOLDER [--data ../shared/data] [--count 200] [--model small]

Writes WAV files and `expected.json` into FOLDER. With --data, speech and noise come from the shared data; without it,
from examples/recordings and generated signals. The seed is fixed. `web/tools/parity.mjs` scores the files with the
npm package in Node and in Chromium and compares.

The recordings have sample rates of 8 to 48 kHz, one or two channels, 0.6 s to 5 min; some have silence inside or at the
ends, are clipped, quiet or loud, contain an offset, noise or music only, or cannot be scored at all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

import mtqnet
from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.causes import describe
from mtqnet.evaluation.plots import worst_stretch
from mtqnet.scoring.over_time import averaged
from mtqnet.scoring.scores import Track
from mtqnet.targets import KEYS

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
OTHER_RATES = (4000, 9600, 12000, 20000, 37800, 50000, 64000, 88200, 96000, 192000)
"""Rates at which resampling is compared, too"""
ROUNDING = 2.0**-24
"""Half a step of 24 bits, about the rounding of float32 samples"""
SOURCE_RATE = 48_000
SEED = 26
LONG = (60.0, 120.0, 300.0)
"""Seconds of the long recordings, one of each per 50 recordings"""
SUBTYPES = ("PCM_16", "PCM_24", "FLOAT", "PCM_16")

Samples = NDArray[np.float64]
Kind = Callable[[Samples, np.random.Generator], Samples]


def _plain(samples: Samples, rng: np.random.Generator) -> Samples:  # noqa: ARG001
    return samples


def _noisy(samples: Samples, rng: np.random.Generator) -> Samples:
    noise = rng.standard_normal(len(samples))
    return np.asarray(samples + noise * samples.std() * 10 ** (-rng.uniform(0, 30) / 20))


def _clipped(samples: Samples, rng: np.random.Generator) -> Samples:
    limit = np.quantile(np.abs(samples), rng.uniform(0.8, 0.99))
    return np.clip(samples, -limit, limit)


def _quiet(samples: Samples, rng: np.random.Generator) -> Samples:
    return samples * 10 ** (-rng.uniform(20, 45) / 20)


def _loud(samples: Samples, rng: np.random.Generator) -> Samples:
    return np.clip(samples * 10 ** (rng.uniform(6, 20) / 20), -1, 1)


def _silence_inside(samples: Samples, rng: np.random.Generator) -> Samples:
    made = samples.copy()
    start = int(len(made) * rng.uniform(0.2, 0.5))
    made[start : start + int(len(made) * rng.uniform(0.1, 0.4))] = 0
    return made


def _silence_around(samples: Samples, rng: np.random.Generator) -> Samples:
    ends = [np.zeros(int(SOURCE_RATE * rng.uniform(0.2, 1.5))) for _ in range(2)]
    return np.concatenate([ends[0], samples, ends[1]])


def _offset(samples: Samples, rng: np.random.Generator) -> Samples:
    return np.clip(samples + rng.uniform(0.02, 0.2), -1, 1)


def _narrow(samples: Samples, rng: np.random.Generator) -> Samples:  # noqa: ARG001
    return np.asarray(soxr.resample(soxr.resample(samples, SOURCE_RATE, 8000), 8000, SOURCE_RATE))[: len(samples)]


def _lost_packets(samples: Samples, rng: np.random.Generator) -> Samples:
    made = samples.copy()
    packet = SOURCE_RATE // 50
    for start in range(0, len(made), packet):
        if rng.random() < 0.08:
            made[start : start + packet] = 0
    return made


def _noise_only(samples: Samples, rng: np.random.Generator) -> Samples:
    return rng.standard_normal(len(samples)) * 10 ** (-rng.uniform(20, 50) / 20)


def _tones(samples: Samples, rng: np.random.Generator) -> Samples:
    time = np.arange(len(samples)) / SOURCE_RATE
    chord = np.sum([np.sin(2 * np.pi * hz * time) for hz in 220 * 2 ** (rng.integers(0, 24, 4) / 12)], axis=0)
    return np.asarray(0.08 * chord)


def _near_silence(samples: Samples, rng: np.random.Generator) -> Samples:
    return rng.standard_normal(len(samples)) * 10 ** (-rng.uniform(60, 90) / 20)


KINDS: tuple[Kind, ...] = (
    _plain, _noisy, _clipped, _quiet, _silence_inside, _plain, _lost_packets, _noisy, _silence_around, _narrow, _loud,
    _offset, _clipped, _quiet, _silence_inside, _noise_only, _tones, _near_silence,
)  # fmt: skip


def make(folder: Path, data: Path | None, count: int) -> list[dict[str, Any]]:
    """Write the recordings and return a description of each."""
    rng = np.random.default_rng(SEED)
    speech = _speech(data)
    described = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        every = number % 50
        long = data is not None and every >= 50 - len(LONG)
        seconds = LONG[every - 50] if long else float(np.exp(rng.uniform(np.log(0.6), np.log(25.0))))
        rate = int(RATES[number % len(RATES)])
        channels = 2 if number % 3 == 1 else 1
        columns = [_column(speech, seconds, kind, rng) for _ in range(1 if number % 2 else channels)]
        columns = columns * channels if len(columns) < channels else columns
        if channels == 2 and number % 12 == 1:
            columns[1] = -columns[0]
        length = min(map(len, columns))
        samples = np.stack([column[:length] for column in columns], axis=1)
        samples = np.clip(soxr.resample(samples, SOURCE_RATE, rate), -1, 1)
        name = f"{number:03d}_{kind.__name__.strip('_')}_{rate}_{channels}ch.wav"
        sf.write(folder / name, samples, rate, subtype=SUBTYPES[number % len(SUBTYPES)])
        described.append({"file": name, "kind": kind.__name__.strip("_"), "seconds": len(samples) / rate})
    return described


def _column(speech: list[Path], seconds: float, kind: Kind, rng: np.random.Generator) -> Samples:
    wanted = int(seconds * SOURCE_RATE)
    parts: list[Samples] = []
    while sum(map(len, parts)) < wanted:
        samples, rate = sf.read(speech[rng.integers(len(speech))], dtype="float64", always_2d=True)
        parts.append(np.asarray(soxr.resample(samples[:, 0], rate, SOURCE_RATE)))
    joined = np.concatenate(parts)
    start = int(rng.integers(0, max(1, len(joined) - wanted)))
    return kind(joined[start : start + wanted], rng)


def _speech(data: Path | None) -> list[Path]:
    if data is None:
        return sorted((Path(__file__).resolve().parent.parent / "examples" / "recordings").glob("*.flac"))
    folders = ("speech_librispeech/test-other", "speech_asterisk_5lang", "p835_csp835_refconditions/wb",
               "p835_csp835_refconditions/fb", "pairs_voicebank_demand_cmgan/noisy")  # fmt: skip
    found = [path for folder in folders for path in sorted((data / folder).rglob("*.flac"))[:40]]
    return found or [path for folder in folders for path in sorted((data / folder).rglob("*.wav"))[:40]]


def expected(folder: Path, described: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    """Add the results of the Python package."""
    predictor = mtqnet.load(model, threads=1, track=True)
    rows = []
    for one in described:
        scores = predictor.score(folder / one["file"])
        rows.append(
            one
            | {key: scores.value(key) for key in KEYS}
            | {
                "flags": list(scores.flags), "level": scores.level, "error": scores.error,
                "duration_s": scores.duration_s, "causes": dict(scores.causes), "cause": scores.cause,
                "intervals": {key: [each.low, each.high] for key, each in scores.intervals.items()},
                "windows": [[each.start_s, each.end_s, each.weight] for each in scores.windows],
                "frames": 0 if scores.track is None else len(scores.track.times_s),
            }
        )  # fmt: skip
    return rows


def _over_time() -> dict[str, Any]:
    """Return results of functions on tracks that the rows may not contain."""
    rng = np.random.default_rng(SEED)
    times = np.asarray((np.arange(125) + 0.5) / 12.5, dtype=np.float64)
    worst = []
    for depth, cause in ((0.0, None), (0.0, 0.5), (0.0, 0.9), (0.1, None), (0.6, 0.3), (1.5, None)):
        values = 3.5 + 0.05 * rng.standard_normal(len(times))
        values[40:70] -= depth
        probabilities = None
        if cause is not None:
            probabilities = np.full((len(times), 2), 0.2)
            probabilities[38:75, 1] = cause
        track = Track(times, values[:, None], ("g_mos",), probabilities, ("noise", "coding"))
        found = worst_stretch(track)
        stretch = found and {"start_s": found.start_s, "end_s": found.stop_s, "g_mos": found.value}
        of_frames = None if probabilities is None else probabilities.tolist()
        worst.append(
            {
                "track": {"times_s": times.tolist(), "g_mos": values.tolist(), "causes": of_frames},
                "stretch": stretch,
            }
        )
    mean = averaged(Track(times, values[:, None], ("g_mos",)), 10.0)
    frames = np.tile([0.1, 0.2], (125, 1))
    frames[30:60, 1] = 0.9
    keys = ("noise", "packet_loss")
    sentences = []
    for causes, causes_over_time in (
        ({"noise": 0.2, "packet_loss": 0.4}, None),
        ({"noise": 0.9, "packet_loss": 0.7}, None),
        ({"noise": 0.6, "packet_loss": 0.8}, frames),
    ):
        track = Track(times, values[:, None], ("g_mos",), causes_over_time, keys)
        stored = None if causes_over_time is None else {
            "times_s": times.tolist(), "values": [], "targets": [], "causes": frames.tolist(), "cause_keys": list(keys),
        }  # fmt: skip
        text = describe(causes, None if stored is None else track.times_s, causes_over_time, keys)
        sentences.append({"causes": causes, "track": stored, "sentence": text})
    return {
        "worst": worst,
        "mean": {
            "times_s": times.tolist(), "g_mos": values.tolist(), "seconds": 10.0,
            "averaged_times": mean.times_s.tolist(),
        },
        "sentences": sentences,
    }  # fmt: skip


def _resampled() -> list[dict[str, Any]]:
    """Return a short signal at each rate, which does not begin or end with silence, at the models' rate."""
    rng = np.random.default_rng(SEED)
    rows = []
    for rate in RATES + OTHER_RATES:
        samples = (0.2 + 0.1 * rng.standard_normal(rate // 20)).astype(np.float32)
        rows.append(
            {
                "rate": rate,
                "common": rate in RATES,
                "samples": samples.tolist(),
                "resampled": resample(samples, rate, SAMPLE_RATE).tolist(),
            }
        )
    return rows


def rounding(folder: Path, model: str) -> dict[str, float]:
    """Return the largest change of each score in Python when noise of ROUNDING is added to the recordings."""
    predictor = mtqnet.load(model, threads=1)
    rng = np.random.default_rng(SEED)
    largest = dict.fromkeys(KEYS, 0.0)
    for row in json.loads((folder / "expected.json").read_text(encoding="utf-8"))["rows"]:
        samples, rate = sf.read(folder / row["file"], dtype="float32", always_2d=True)
        signal = resample(samples[:, 0], rate, SAMPLE_RATE)
        noise = ROUNDING * rng.uniform(-1, 1, len(signal)).astype(np.float32)
        before, after = predictor.score(signal, SAMPLE_RATE), predictor.score(signal + noise, SAMPLE_RATE)
        for key in KEYS:
            largest[key] = max(largest[key], abs((before.value(key) or 0.0) - (after.value(key) or 0.0)))
    return largest


def main() -> None:
    """Read the arguments and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model", default="small")
    parser.add_argument(
        "--rounding", action="store_true", help="only print how far rounding moves the Python scores"
    )
    options = parser.parse_args()
    if options.rounding:
        print({key: round(value, 5) for key, value in rounding(options.folder, options.model).items()})
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    described = make(options.folder, options.data, options.count)
    rows = expected(options.folder, described, options.model)
    content = {
        "model": options.model, "version": mtqnet.__version__, "rows": rows,
        "fields": [field.name for field in fields(mtqnet.Scores)], "resampled": _resampled(), **_over_time(),
    }  # fmt: skip
    (options.folder / "expected.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
