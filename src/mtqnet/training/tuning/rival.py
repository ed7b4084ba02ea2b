"""The model that already lies where the tuned one should go: is it better?

A model that was tuned on the same table with the same recordings held out has its own error in its record, of
recordings that it did not learn from. Any other is scored on what is held out now: if it learnt from these, that
flatters it, and --force is there for who knows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtqnet.errors import ModelError, UsageError
from mtqnet.scoring import models
from mtqnet.scoring.predictor import Predictor
from mtqnet.training.tuning import fit
from mtqnet.training.tuning.groups import Plan
from mtqnet.training.tuning.material import Material


def need_place(out: Path, force: bool) -> None:
    """Raise UsageError where a model cannot go: a file, or the folder of a model with another name.

    Without `force` the model in its place must be whole, as it is held against the new one: ModelError.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file: name a folder")
    name = out.resolve().name
    if others := sorted(path.name for path in out.glob("*.onnx") if path.stem != name):
        raise UsageError(f"{out} holds {others[0]}, and a folder is for one model: name another")
    if force or not _model(out).is_file():
        return
    try:
        models.find(_model(out)).weights()
    except ModelError as error:
        raise ModelError(f"the model that {out} holds is damaged ({error}): --force replaces it") from error


def error(out: Path, data: Material, files: Sequence[Path], plan: Plan, labels: str) -> float | None:
    """That of the model in `out` on what `plan` holds out (its recordings are `files`); None where there is none.

    `labels`: digest of the table. Raises ModelError for a damaged model.
    """
    model = _model(out)
    if not model.is_file():
        return None
    record = models.find(model)
    told = json.loads(record.path.with_suffix(".json").read_text(encoding="utf-8")).get("tuning", {})
    same = told.get("labels", {}).get("sha256") == labels and told.get("split") == plan.words
    if same and told.get("tuned") == list(data.tuned):
        return float(told["error"]["after"])
    scored = list(Predictor(model, track=False).score_files(files))
    said = {key: np.array([_number(scores.value(key)) for scores in scored]) for key in data.tuned}
    return fit.error(said, data, plan.test)


def _model(out: Path) -> Path:
    return out / f"{out.resolve().name}.onnx"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
