"""Write web/definition.json: what scoring in the browser needs to know from Python.

python -m research.browser_definition

Constants, targets, flags, causes, matrices and the records of the shipped models are defined in `src/mtqnet`. The
TypeScript code in `web/src` reads them from the file that this script writes, so that no value exists in two languages.
A test compares the file with the modules. Run the script after a change of a constant or of a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet import __version__, causes, targets
from mtqnet.audio import analysis, decoding, detection, features, flags, level, reading, resampling, windows
from mtqnet.evaluation import plots, statistics
from mtqnet.scoring import intervals, models, over_time, scores, stream, tables
from mtqnet.serving import worker

OUTPUT = Path(__file__).resolve().parent.parent / "web" / "definition.json"
NOT_MEASURED = {
    "truncated": "the browser decodes files without reporting whether they are complete",
    "unreadable": "raised for files that the browser cannot decode; there is no list of containers",
    "missing": "there are no paths in a browser",
}
"""Flags of flags.FLAGS that are not raised in the browser, or not in the same way, with the reason"""
RECORD_KEYS = (
    "name", "targets", "features", "peak_normalise", "frame_rate_hz", "sha256", "licence", "track",
    "local", "causes", "distance", "intervals",
)  # fmt: skip
"""Keys of a model's record that scoring uses"""


def definition() -> dict[str, Any]:
    """Return the content of web/definition.json."""
    return {
        "version": __version__,
        "sample_rate": resampling.SAMPLE_RATE,
        "rates": [resampling.MIN_RATE, resampling.MAX_RATE],
        "block_values": decoding.BLOCK_VALUES,
        "columns": list(scores.COLUMNS),
        "decimals": tables.DECIMALS,
        "significant_digits": tables.SIGNIFICANT_DIGITS,
        "targets": [_target(target) for target in targets.TARGETS],
        "causes": {
            "kinds": [vars(cause) for cause in causes.CAUSES],
            "present": causes.PRESENT,
            "shortest_s": causes.SHORTEST_S,
            "whole": causes.WHOLE,
        },
        "flags": [_flag(flag) for flag in flags.FLAGS],
        "levels": list(flags.LEVELS),
        "limits": {
            "min_duration_s": flags.MIN_DURATION_S,
            "silent_dbov": flags.SILENT_DBOV,
            "max_channels": decoding.MAX_CHANNELS,
            "max_held_s": reading.MAX_HELD_S,
        },
        "channels": {"cancel_power": reading.CANCEL_POWER, "audible_power": reading.AUDIBLE_POWER},
        "level": {
            "step": level.STEP,
            "time_constant": level.TIME_CONSTANT,
            "hangover": level.HANGOVER,
            "margin_db": level.MARGIN_DB,
            "thresholds": level.THRESHOLDS.tolist(),
            "frame": level.FRAME,
            "floor_db": level.FLOOR_DB,
            "smoother": level._smoother().tolist(),
        },
        "analysis": {
            "trim_s": analysis.TRIM_S,
            "flat_top_quantile": analysis.FLAT_TOP_QUANTILE,
            "flat_top_tolerance": analysis.FLAT_TOP_TOLERANCE,
            "block": analysis.BLOCK,
        },
        "detection": _detection(),
        "features": _features(),
        "windows": {"max_s": windows.MAX_WINDOW_S},
        "intervals": {"smallest_distance": intervals.SMALLEST_DISTANCE},
        "stream": {"hop_s": stream.HOP_S},
        "over_time": {
            "stretch_s": over_time.STRETCH_S,
            "hop_s": over_time.HOP_S,
            "max_values": over_time.MAX_VALUES,
        },
        "worst": {
            "shortest_s": plots.SHORTEST_S,
            "shortest_stretch_s": plots.SHORTEST_STRETCH_S,
            "longest_share": plots.LONGEST_SHARE,
            "length_power": plots.LENGTH_POWER,
            "cause_weight": plots.CAUSE_WEIGHT,
            "least_odds": plots.LEAST_ODDS,
            "most_frames": plots.MOST_FRAMES,
            "stands_out": plots.STANDS_OUT,
            "stands_out_with_causes": plots.STANDS_OUT_WITH_CAUSES,
        },
        "compare": {
            "same": worker.SAME,
            "same_mos": worker.SAME_MOS,
            "resamples": statistics.RESAMPLES,
            "level": statistics.LEVEL,
        },
        "omitted_flags": NOT_MEASURED,
        "models": {name: _record(name) for name in models.complete()},
    }


def _target(target: targets.Target) -> dict[str, Any]:
    slope, offset = target.affine
    return vars(target) | {"slope": slope, "offset": offset}


def _flag(flag: flags.Flag) -> dict[str, Any]:
    return {key: value for key, value in vars(flag).items() if key != "error"} | {"limit": flag.limit}


def _detection() -> dict[str, Any]:
    names = (
        "SEGMENT", "REST", "GROUP", "MEASURED", "MIN_TONAL_S", "FAINT_DB", "UNSCALED_DBOV", "SHORT_WINDOW", "SHORT_HOP",
        "LONG_WINDOW", "LONG_HOP", "RANGE_DB", "PAUSE_DB", "SMOOTH", "SLOW", "LAG", "AROUND", "LEAST", "BAND_HZ",
        "REACH_DB", "LOWEST_HZ",
    )  # fmt: skip
    return {name.lower(): getattr(detection, name) for name in names} | {
        "fine": [detection.FINE.start, detection.FINE.stop],
        "mel_edges": detection._mel_edges().tolist(),
        "cosines": detection._cosines().astype(np.float64).tolist(),
    }


def _features() -> dict[str, Any]:
    mel = features.mel_matrix().astype(np.float64)
    bands = []
    for band in mel.T:
        used = np.flatnonzero(band)
        bands.append({"first": int(used[0]), "weights": band[used[0] : used[-1] + 1].tolist()})
    return {
        "logmel": {
            "window": features.MEL_WINDOW,
            "hop": features.MEL_HOP,
            "floor": features.MEL_FLOOR,
            "width": features.MEL_BANDS,
            "bands": bands,
        },
        "spectrum": {
            "window": features.SPECTRUM_WINDOW,
            "hop": features.SPECTRUM_HOP,
            "width": features.SPECTRUM_BINS,
        },
        "wave": {"hop": features.FEATURES["wave"].hop, "width": features.FEATURES["wave"].width},
    }


def _record(name: str) -> dict[str, Any]:
    stored = json.loads((models.WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: stored[key] for key in RECORD_KEYS if key in stored} | {
        "bytes": (models.WEIGHTS / f"{name}.onnx").stat().st_size
    }


def text() -> str:
    """Return the file as text; arrays of numbers are on one line."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in definition().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    OUTPUT.write_text(text(), encoding="utf-8")
