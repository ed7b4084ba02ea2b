"""Record the golden scores of the shipped models: `python tests/golden/record.py` writes scores.json next to it.

Record again only when weights or features change on purpose; such a change needs an entry under "Scores" in
CHANGELOG.md.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from signals import RECORDINGS, signals

import mtqnet
from mtqnet.targets import KEYS

FILE = Path(__file__).with_name("scores.json")
MODELS = ("base", "small")


def scores(model: str) -> dict[str, dict[str, float | None] | str]:
    """Scores of every example recording and every generated signal, by name; a reason where there is no score."""
    predictor = mtqnet.load(model)
    result: dict[str, dict[str, float | None] | str] = {}
    for path in sorted(RECORDINGS.glob("*.flac")):
        result[path.name] = _row(predictor.score(path))
    for name, samples, rate in signals():
        try:
            result[name] = _row(predictor.score(samples, rate=rate))
        except mtqnet.AudioError as error:
            result[name] = f"refused: {type(error).__name__}"
    return result


def _row(result: mtqnet.Scores) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for key in KEYS:
        row[key] = round(float(getattr(result, key)), 7)
        row[f"{key}_low"] = round(float(result.intervals[key].low), 7) if result.intervals else None
        row[f"{key}_high"] = round(float(result.intervals[key].high), 7) if result.intervals else None
    return row


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    FILE.write_text(json.dumps({model: scores(model) for model in MODELS}, indent=1) + "\n")
