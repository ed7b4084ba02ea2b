"""Training data from a simulated corpus: features, labels and causes of its clips, and the time of each stage."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.causes import CAUSE_KEYS
from mtqnet.corpus import build as corpus
from mtqnet.corpus import ensemble
from mtqnet.corpus.degradations import CODEC, KIND_OF, LOSS, NOISE, ROOM, SUPPRESSION, kinds_of
from mtqnet.corpus.ensemble import loss_weights
from mtqnet.corpus.sources import SPLITS, Sources
from mtqnet.corpus.table import DISAGREEMENT, TABLE, excerpt, read_rows
from mtqnet.scoring.models import ModelRecord
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, PEERS, QUEST, named
from mtqnet.training import features, trainer
from mtqnet.training.batches import Dataset, Labels, Parts
from mtqnet.training.config import Config, CorpusConfig

Stage = Callable[[str, int, int], None]
"""Called with the name of a stage, the finished and the total number of its parts"""
Row = dict[str, Any]
"""A clip of a corpus by column name"""

CALIBRATION = "calibration"
"""Split of the clips that calibrate the intervals: every second validation clip, which selects no epoch"""
NARROWBAND = frozenset({"AmrNb", "G711", "GsmFr", "G729", "G7231", "G726", "Codec2", "Lpc10", "Nellymoser"})
"""Codecs that remove everything above 4 kHz"""
UNCLEAR_BAND = frozenset(
    (
        "Equaliser", "Opus", "OpusNeural", "Speex", "Silk", "Mp3", "Mp2", "Aac", "Vorbis", "RealAudio", "Cvsd",
        "Adpcm", "Dpcm", "Wma", "Siren", "TelephoneBand", "Sbc", "Ac3", "Lc3", "G722", "AptX",
    )
)  # fmt: skip
"""Steps that limit the band or not, depending on their parameters"""
AUDIBLE_SNR_DB, INAUDIBLE_SNR_DB = 30.0, 40.0
"""Equivalent SNR of the clip below which its noise is a cause, and above which it is none; between both it is
neither present nor absent (NaN)"""


@dataclass(frozen=True)
class RunPaths:
    """Where a run reads and writes, and with how many processes."""

    data: Path
    """Folder that the folders of a configuration are relative to"""
    out: Path
    """Folder of the run"""
    shared_corpus: Path | None = None
    """Corpus of another run with the same corpus configuration; by default the run builds its own"""
    jobs: int = 0
    """Number of processes; 0 is one per core"""

    @property
    def corpus(self) -> Path:
        """Folder of the corpus."""
        return self.shared_corpus or self.out / "corpus"


def corpus_rows(config: Config, paths: RunPaths, stage: Stage) -> list[Row]:
    """Build the corpus of a configuration and return its clips; every second validation clip is for calibration.

    With `existing_models.ensemble`, S-, N- and G-MOS are the label ensemble.

    Raises:
        CorpusError: If the folder contains another corpus.
        UsageError: If the existing models cannot be run.
    """
    table = build_corpus(config.corpus, paths, stage)
    existing = config.existing_models
    if (existing.heads or existing.ensemble) and trainer.process().first:
        ensemble.add_ensemble(
            paths.corpus, ensemble.PYTHON, paths.jobs, existing.clips, partial(stage, "existing models")
        )
    rows = read_rows(table)
    if existing.ensemble:  # of the training clips MPL computes it, with the predicted scores
        train = [row for row in rows if row["split"] == "train"]
        rows = train + ensemble.as_labels([row for row in rows if row["split"] != "train"])
    numbers = itertools.count()
    return [
        {**row, "split": CALIBRATION} if row["split"] == "validation" and next(numbers) % 2 else row
        for row in rows
    ]


def build_corpus(config: CorpusConfig, paths: RunPaths, stage: Stage) -> Path:
    """Build a corpus, or find it finished, and return the path of its table.

    Of several processes the first builds it (trainer.first_alone).

    Raises:
        CorpusError: If the folder contains another corpus.
    """
    if not trainer.process().first:
        return paths.corpus / TABLE
    folders = (tuple(paths.data / name for name in names) for names in (config.speech, config.noise, config.rooms))
    clips = {split: getattr(config, split) for split in SPLITS}
    order = corpus.Order(Sources(*folders), clips, config.seed, without=config.without)
    return corpus.build(order, paths.corpus, jobs=paths.jobs, progress=partial(stage, "corpus"))


def dataset(
    front_end: features.FrontEnd, rows: Sequence[Row], split: str, paths: RunPaths, stage: Stage
) -> Dataset:
    """Return features and true labels of a split; the features are stored in the run's folder."""
    of_split = [row for row in rows if row["split"] == split]
    clips = features.compute(
        front_end, excerpts(rows, split, paths), paths.out / "features", split,
        partial(stage, f"features, {split}"), paths.jobs,
    )  # fmt: skip
    known = [target.key for target in PEERS if of_split and target.key in of_split[0]]
    labels, weights = labels_of(of_split, (*KEYS, *known)), weights_of(of_split)
    if not of_split or "recipe" not in of_split[0]:
        return Dataset(clips, labels, weights)
    kinds = [kinds_of(row["steps"]) for row in of_split]
    recordings = [json.loads(row["recipe"])["speech"] for row in of_split]
    speech = np.unique(recordings, return_inverse=True)[1].astype(np.int64)
    return Dataset(clips, labels, weights, parts_of(of_split), kinds, speech)


def excerpts(rows: Sequence[Row], split: str, paths: RunPaths) -> list[Excerpt]:
    """Return the clips of a split as parts of the corpus' audio files."""
    return [excerpt(paths.corpus, row) for row in rows if row["split"] == split]


def labels_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Labels:
    """Convert the label columns of a table, as numbers or text, into arrays; an empty or absent cell is NaN."""
    return {target.key: np.array([_number(row.get(target.label)) for row in rows]) for target in named(list(keys))}


def weights_of(rows: Sequence[Mapping[str, Any]]) -> Labels:
    """Convert the disagreement columns of a corpus into loss weights (corpus/ensemble.py); empty without them."""
    keys = [target.key for target in QUEST if rows and target.key + DISAGREEMENT in rows[0]]
    return {key: loss_weights(np.array([_number(row[key + DISAGREEMENT]) for row in rows])) for key in keys}


def _number(cell: float | str | None) -> float:
    return float("nan") if cell is None or cell == "" else float(cell)


def parts_of(rows: Sequence[Mapping[str, Any]]) -> Parts:
    """Read spans and causes from the recipes of a corpus' rows."""
    spans, outside, inside = [], [], []
    for row in rows:
        steps = json.loads(row["recipe"])["steps"]
        whole = [step["step"] for step in steps if step["step"] != "Splice"]
        splice = next((step for step in steps if step["step"] == "Splice"), None)
        if splice is None:
            spans.append((0.0, 0.0))
            outside.append(causes_of(whole, _number(row["equivalent_snr_db"])))
            inside.append(outside[-1])
            continue
        spans.append((splice["start_s"], splice["end_s"]))
        good = causes_of(whole, float("nan"))
        bad = causes_of([*whole, *(step["step"] for step in splice["steps"])], float("nan"))
        outside.append(good if splice["kind"] == "degraded" else bad)
        inside.append(bad if splice["kind"] == "degraded" else good)
    return Parts(np.array(spans).reshape(-1, 2), np.array(outside), np.array(inside))


def causes_of(steps: Iterable[str], snr_db: float) -> list[float]:
    """Return 1, 0 or NaN for each cause.

    Args:
        steps: Kinds of processing.
        snr_db: Equivalent SNR of the result; NaN if unknown, then noise that was added counts as present.
    """
    steps = set(steps)
    kinds = {KIND_OF[step] for step in steps}
    noise = float(NOISE in kinds and not snr_db > INAUDIBLE_SNR_DB)
    if noise and snr_db >= AUDIBLE_SNR_DB:
        noise = float("nan")
    band = 1.0 if steps & (NARROWBAND | {"BandLimit"}) else float("nan") if steps & UNCLEAR_BAND else 0.0
    found = {
        "noise": noise,
        "reverberation": float(ROOM in kinds),
        "clipping": float(bool(steps & {"Clipping", "Overdrive"})),
        "band_limitation": band,
        "coding": float(CODEC in kinds),
        "packet_loss": float(LOSS in kinds),
        "suppression": float(SUPPRESSION in kinds),
    }
    return [found[key] for key in CAUSE_KEYS]


def model_scores(
    model: ModelRecord, clips: Sequence[Excerpt], folder: Path, name: str, jobs: int, progress: features.Progress
) -> Labels:
    """Return the scores of a model, (clips,) by target, NaN for a refused clip; stored in `folder` as `name`."""
    work = partial(_scores, str(model.path))
    found = features.stored(clips, folder, f"{name}-{model.sha256[:12]}", work, jobs, progress)
    rows = [clip["scores"][0] for clip in found]
    return dict(zip(model.targets, np.array(rows).reshape(-1, len(model.targets)).T, strict=True))


def _scores(model: str, clips: Sequence[Excerpt]) -> list[features.Views]:
    """Return the scores (1, targets) of each clip; NaN for a refused clip: of 36,000 clips, one is too quiet."""
    predictor = _predictor(model)
    scored = [predictor.score(read_excerpt(clip), SAMPLE_RATE) for clip in clips]
    rows = [[scores.value(key) for key in predictor.record.targets] for scores in scored]
    return [{"scores": np.array([row], dtype=np.float64)} for row in rows]


@lru_cache(maxsize=1)
def _predictor(model: str) -> Predictor:
    """Load a model once per process, with one thread."""
    return Predictor(model, threads=1, track=False)


class Clock:
    """Seconds of each stage, in a file, summed over all calls of a resumed run.

    An interrupted call loses the time since the last tick.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.last = path, time.monotonic()
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def tick(self, stage: str) -> None:
        """Add the time since the last tick to a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + now - self.last, 2)
        self.last = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        unfinished.write_text(json.dumps(self.seconds, indent=1) + "\n")
        unfinished.replace(self.path)

    def timed(self, stage: Stage) -> Stage:
        """Return the same function; the time between its calls is added."""

        def tick(name: str, done: int, total: int) -> None:
            self.tick(name)
            stage(name, done, total)

        return tick

    def minutes(self) -> dict[str, float]:
        """Return the time by stage in minutes, in the order in which the stages began."""
        return {stage: round(seconds / 60, 1) for stage, seconds in self.seconds.items()}
