"""Scores of other predictors (DNSMOS P.835, DNSMOS P.808, Distill-MOS), and S-, N- and G-MOS labels as an ensemble.

The predictors need packages that this project does not install (librosa), so they run by their own code in a separate
environment, created by `make peers`; peer_worker.py is what runs there. Their scores are baselines in the experiments,
further pseudo labels in training, and sources of the ensemble labels: `mtqnet corpus ensemble` adds ENSEMBLE_COLUMNS to
the table of a corpus (`add_ensemble`). The columns `s_mos`, `n_mos` and `g_mos` remain the labels of the three-signal
labeller; training with `existing_models.ensemble = true` uses the ensemble in their place (`as_labels`).

The sources of the ensemble are the three-signal labeller (labels/three_signal.py) and these predictors, which were
trained on human ratings. No source is right everywhere: the labeller knows the noise exactly but was fitted to few
listeners, and the predictors learned from many votes but have no reference. So each source has a weight for each
label and each kind of processing.

    line      each source is mapped to the scale of the label by a straight line for each kind: by least squares on
              ratings where MOS ratings of this kind exist, otherwise to the labeller's mean and deviation
    weight    r^2 / (1 - r^2), the precision of a source whose agreement is r; normalised over the sources. r is the
              correlation with ratings where rated recordings of this kind exist, otherwise the correlation with the
              mean of the sources of other families. Where ratings exist, the weights are then moved to the labeller
              until the ensemble is not worse than the labeller on talkers that were left out
    after a suppressor, where no ratings are public, the weights are those with the best agreement with all
              predictors of the same quality
    label     weighted mean over the sources that are known, and over the kinds of the clip

The standard deviation of the sources about the label is the disagreement. A clip with a large disagreement gets a
smaller weight in the loss. The numbers are in ensemble.json, written by research/fit_ensemble.py.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.degradations import NOISE, kinds_of
from mtqnet.corpus.peer_worker import COLUMNS
from mtqnet.corpus.sources import SPLITS
from mtqnet.corpus.table import DISAGREEMENT, ENSEMBLE, TABLE, excerpt, fingerprint, read_rows, write_rows
from mtqnet.errors import CorpusError, UsageError
from mtqnet.targets import QUEST

WORKER = Path(__file__).with_name("peer_worker.py")
WEIGHTS = Path(__file__).with_name("ensemble.json")
PYTHON = Path(".venv-peers/bin/python")
"""Where `make peers` puts the interpreter of the predictors"""
CHUNK = 200
"""Clips that one process scores before its result is kept"""
STORE = "predictors"
"""Folder of a corpus with the scores of the predictors"""
SOURCES: Mapping[str, tuple[str, ...]] = {
    "s_mos": ("s_mos", "dnsmos_sig", "dnsmos_p808", "distillmos"),
    "n_mos": ("n_mos", "dnsmos_bak"),
    "g_mos": ("g_mos", "dnsmos_ovrl", "dnsmos_p808", "distillmos"),
}
"""Label -> its source columns; the first is that of the labeller"""
PREDICTORS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "distillmos")
TOLERANCE_MOS = 0.5
"""MOS: at this disagreement a clip counts half. It is about the confidence interval of a clip with seven votes."""

Array = NDArray[np.float64]
Row = dict[str, Any]
Progress = Callable[[int, int], None]
Scores = dict[str, Array]
"""By column, (clips,) each"""
Columns = Mapping[str, Array]
"""Values by source, (clips,) each; NaN where unknown"""


@dataclass(frozen=True)
class Line:
    """y = slope x + offset"""

    slope: float
    offset: float

    def __call__(self, x: Array) -> Array:
        return self.slope * x + self.offset


@dataclass(frozen=True)
class Mix:
    """Combination of the sources of one label for one kind of processing."""

    lines: Mapping[str, Line]
    """By source: from the scale of the source to the label's"""
    weights: Mapping[str, float]
    """By source; they sum to 1"""


Label = Mapping[str, Mix]
"""Combination of the sources of one label, by kind of processing"""


@dataclass(frozen=True)
class Agreed:
    """One label of all clips, (clips,) each."""

    values: Array
    """1 to 5"""
    disagreement: Array
    """Weighted standard deviation of the sources, in MOS; NaN where fewer than two are known"""


def add_ensemble(
    corpus: Path,
    python: Path = PYTHON,
    jobs: int = 0,
    train: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> Path:
    """Score the clips of a corpus by all predictors and write the ensemble into its table; scores are kept.

    Args:
        corpus: Folder that `corpus build` wrote.
        python: Interpreter of the environment with the predictors.
        jobs: Number of processes; 0 is one per core.
        train: Number of training clips that are scored, the first ones; 0 is all. The ensemble of the others is
            the labeller alone.
        progress: Called with the clips done and the clips in total, each counted once for each predictor.

    Returns:
        The path of the table.
    """
    rows = read_rows(corpus)
    for row in rows:
        row.update(dict.fromkeys(PREDICTORS))
    for split in SPLITS:
        chosen = [row for row in rows if row["split"] == split]
        chosen = chosen[: train or None] if split == "train" else chosen
        if chosen:
            clips = [excerpt(corpus, row) for row in chosen]
            scores = score(python, clips, corpus / STORE, split, jobs, progress)
            for place, row in enumerate(chosen):
                row.update({key: float(scores[key][place]) for key in PREDICTORS})
    keys = (*(target.key for target in QUEST), *PREDICTORS)
    sources = {key: np.array([np.nan if row[key] is None else row[key] for row in rows]) for key in keys}
    for key, agreed in ensemble_labels(sources, [kinds_of(row["steps"]) for row in rows]).items():
        for row, value, disagreement in zip(rows, agreed.values, agreed.disagreement, strict=True):
            row[key + ENSEMBLE] = round(float(value), 5)
            row[key + DISAGREEMENT] = None if np.isnan(disagreement) else round(float(disagreement), 5)
    write_rows(rows, corpus / TABLE)
    return corpus / TABLE


def as_labels(rows: Sequence[Row]) -> list[Row]:
    """The rows with the ensemble in place of the labeller's S-, N- and G-MOS. Raises CorpusError without one."""
    if rows and QUEST[0].key + ENSEMBLE not in rows[0]:
        raise CorpusError("the corpus has no ensemble labels: run `mtqnet corpus ensemble DIR`")
    return [{**row, **{target.key: row[target.key + ENSEMBLE] for target in QUEST}} for row in rows]


def ensemble_labels(sources: Columns, kinds: Sequence[tuple[str, ...]]) -> dict[str, Agreed]:
    """S-, N- and G-MOS of clips by the weights that ship with the package, by target key."""
    fitted = labels()
    return {target.key: combine(target.key, sources, kinds, fitted[target.key]) for target in QUEST}


def combine(target: str, sources: Columns, kinds: Sequence[tuple[str, ...]], label: Label) -> Agreed:
    """One label of clips whose kinds of processing are known; NaN where no source with a weight is known.

    The label of a clip is the mean over its kinds, or that of NOISE if it has no kind, as clean speech is among the
    rated conditions of NOISE. Sources that are unknown (NaN, or absent) are omitted, and the other weights are scaled
    up; the labeller alone stays as it is.
    """
    keys = [key for key in SOURCES[target] if key in sources]
    raw = np.stack([np.asarray(sources[key], dtype=np.float64) for key in keys])
    alone = np.array([~np.isnan(raw[i]) if key == target else np.isnan(raw[i]) for i, key in enumerate(keys)])
    made, deviation = np.full(raw.shape[1], np.nan), np.full(raw.shape[1], np.nan)
    for group in set(kinds):
        at = np.flatnonzero([of_clip == group for of_clip in kinds])
        mixes = [label[kind] for kind in group or (NOISE,)]
        values = np.concatenate(
            [[mix.lines[key](x[at]) for key, x in zip(keys, raw, strict=True)] for mix in mixes]
        )
        weights = np.concatenate([[mix.weights.get(key, 0.0) for key in keys] for mix in mixes])
        made[at], deviation[at] = _mean_and_deviation(values, weights)
        several = (
            np.array([~np.isnan(x[at]) for x in raw]) & (weights.reshape(len(mixes), -1).sum(axis=0) > 0)[:, None]
        )
        deviation[at] = np.where(several.sum(axis=0) >= 2, deviation[at], np.nan)
    if target in keys:
        only = alone.all(axis=0)
        made[only] = raw[keys.index(target)][only]
    return Agreed(np.clip(made, 1.0, 5.0), deviation)


def _mean_and_deviation(values: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and standard deviation over the known of (sources, clips); NaN where none has a weight."""
    weights = np.where(np.isnan(values), 0.0, weights[:, None])
    total = weights.sum(axis=0)
    filled = np.nan_to_num(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = weights / total
        mean = np.sum(weights * filled, axis=0)
        variance = np.sum(weights * (filled - mean) ** 2, axis=0)
    mean[total == 0] = np.nan
    return mean, np.sqrt(np.maximum(variance, 0))


def loss_weights(disagreement: Array) -> Array:
    """Weight of each clip in the loss of one label, (clips,), with a mean of 1 over the clips.

    1 / (1 + (d / TOLERANCE_MOS)^2): the precision of a label with the disagreement d relative to one without
    disagreement. A clip with an unknown disagreement counts as the average clip.
    """
    weights = 1 / (1 + (np.asarray(disagreement, dtype=np.float64) / TOLERANCE_MOS) ** 2)
    known = ~np.isnan(weights)
    if not known.any():
        return np.ones(len(weights))
    return np.where(known, weights / weights[known].mean(), 1.0)


@lru_cache(maxsize=1)
def labels() -> dict[str, Label]:
    """The fitted labels that ship with the package, by target key."""
    return read(json.loads(WEIGHTS.read_text(encoding="utf-8"))["labels"])


def read(stored: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Label]:
    """The labels of a record as research/fit_ensemble.py writes it."""
    return {
        target: {
            kind: Mix({key: Line(**line) for key, line in record["lines"].items()}, dict(record["weights"]))
            for kind, record in of_kinds.items()
        }
        for target, of_kinds in stored.items()
    }


def predictors_of(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the predictors that provide these columns, each once."""
    owner = {column: predictor for predictor, named in COLUMNS.items() for column in named}
    return tuple(dict.fromkeys(owner[column] for column in columns))


def score(
    python: Path,
    clips: Sequence[Excerpt],
    store: Path,
    name: str,
    jobs: int,
    progress: Progress,
    predictors: Sequence[str] = tuple(COLUMNS),
) -> Scores:
    """All columns of these predictors for these clips; what `store` has is not scored again. Raises UsageError.

    `progress` counts clips, each once for each predictor.
    """
    store.mkdir(parents=True, exist_ok=True)
    pieces = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    marks = [fingerprint(piece) for piece in pieces]
    chunks = {  # file of scores -> predictor and clips
        store / f"{name}-{predictor}-{number:03d}-{mark}.csv": (predictor, piece)
        for predictor in predictors
        for number, (piece, mark) in enumerate(zip(pieces, marks, strict=True))
    }
    missing = [path for path in chunks if not path.exists()]
    if missing and not python.exists():
        raise UsageError(
            f"no {python}: run `make peers`, or set MTQNET_PEERS to a Python interpreter with speechmos and distillmos"
        )
    total = len(clips) * len(predictors)
    done = total - sum(len(chunks[path][1]) for path in missing)
    progress(done, total)
    with ThreadPoolExecutor(jobs or os.cpu_count()) as threads:
        tasks = {threads.submit(_score_chunk, python, path, *chunks[path]): path for path in missing}
        for task in as_completed(tasks):
            task.result()
            done += len(chunks[tasks[task]][1])
            progress(done, total)
    rows: dict[str, list[dict[str, str]]] = {predictor: [] for predictor in predictors}
    for path, (predictor, _) in chunks.items():
        with path.open(newline="") as stream:
            rows[predictor] += csv.DictReader(stream)
    return {
        column: np.array([float(row[column]) for row in rows[predictor]])
        for predictor in predictors
        for column in COLUMNS[predictor]
    }


def _score_chunk(python: Path, path: Path, predictor: str, clips: Sequence[Excerpt]) -> None:
    listing, partial = path.with_suffix(".list"), path.with_suffix(".tmp")
    with listing.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "start", "samples"))
        writer.writerows((clip.path.resolve(), clip.start, clip.samples or "") for clip in clips)
    command = [str(word) for word in (python, WORKER, predictor, listing, partial)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | one_thread)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(f"the peers could not be run by {python}: {last}. `make peers` installs them")
    partial.replace(path)
    listing.unlink()
