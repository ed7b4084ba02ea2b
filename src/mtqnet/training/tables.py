"""Training data from tables of ratings: recordings with S-, N- and G-MOS, and recordings without labels.

    table          -> ratings per recording and their weights (evaluation/ratings.py, finetune/data.py)
    recordings     -> segments of at most one scoring window; what cannot be scored is reported and skipped
    groups         -> training, validation, calibration and test recordings
    clean references, if a column names them -> true PESQ, STOI and SDI
    pretrained MOSA-Net -> pseudo labels: PESQ, STOI and SDI of every segment (stage 1 of MPL)

A segment has the ratings of its recording, weighted by its part of the recording, so that each rating counts once.
Groups are never divided, with one exception that is reported: if a single group remains for training and
validation, its recordings are divided. All stages are stored in the run's folder under names that depend on the
content of their recordings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import AudioError, LabelError, ModelError, UsageError
from mtqnet.evaluation import ratings
from mtqnet.evaluation.recordings import locate
from mtqnet.scoring import batch, models
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, QUEST, named
from mtqnet.training import calibration, features, mpl, weights
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config, NetworkConfig, RatingsConfig
from mtqnet.training.data import CALIBRATION, Row, RunPaths, Stage, corpus_rows, dataset
from mtqnet.training.data import excerpts as data_excerpts
from mtqnet.training.finetune import data as finetuning
from mtqnet.training.finetune.split import by_hash, one_group
from mtqnet.training.model import Network

LEAST = 10
"""Fewest rated recordings"""
FEW = 100
"""With fewer rated recordings the figures are reported as uncertain"""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.15
"""Fractions of the recordings; the last group may make them larger"""
RATED = "rated"
"""Split of the test recordings of tables"""
SPLITS = ("train", "validation", CALIBRATION, RATED)
SPLIT_NAMES: Mapping[str, str] = {"test": RATED, **{name: name for name in SPLITS}}
"""Values of the column that `ratings.split` names -> split"""

Array = NDArray[np.float64]
Notes = list[str]


@dataclass(frozen=True)
class Material:
    """Recordings of all tables, and unlabelled ones. Arrays are (recordings,)."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    groups: tuple[str, ...]
    labels: Labels
    """By key of the six targets; NaN where unknown"""
    weights: Labels
    """By key: weight of each rating in the loss, 1 on average over the ratings of its table"""
    segments: finetuning.Segments
    """Segments of these recordings; `recording` is an index of these arrays"""
    unlabelled: tuple[Excerpt, ...]
    """Segments of the unlabelled recordings"""
    notes: tuple[str, ...]
    """What the user should know, one sentence each"""

    def rows(self, splits: Sequence[str]) -> list[Row]:
        """Return a row per recording, as for the clips of a corpus."""
        return [
            {
                "id": name, "file": str(path.resolve()), "split": split, "steps": [],
                **{BY_KEY[key].label: float(values[index]) for key, values in self.labels.items()},
            }
            for index, (name, path, split) in enumerate(zip(self.names, self.paths, splits, strict=True))
        ]  # fmt: skip

    def dataset(self, clips: Sequence[features.Clip], recordings: Array | NDArray[np.int64]) -> Dataset:
        """Return the segments of some recordings with their labels; `clips` are all segments."""
        chosen = np.flatnonzero(np.isin(self.segments.recording, recordings))
        index, shares = self.segments.recording[chosen], self.segments.shares[chosen]
        counted = {key: values[index] * shares for key, values in self.weights.items()}
        return Dataset([clips[int(n)] for n in chosen], {k: v[index] for k, v in self.labels.items()}, counted)

    def sound(self, clips: Sequence[features.Clip]) -> finetuning.Sound:
        """Return the features of all segments."""
        return finetuning.Sound(clips, self.segments.recording, self.segments.shares, len(self.names))


def read(config: RatingsConfig, paths: RunPaths, stage: Stage) -> Material:
    """Read all tables, find and cut their recordings, and compute true values where a reference is named.

    Raises:
        UsageError: If a table or its ratings cannot be used; the message names table and row.
    """
    notes: Notes = []
    parts = [_table(config, paths.data / name, notes) for name in config.labels]
    _once([part for part, _ in parts], config.labels)
    rated, references = _joined([part for part, _ in parts]), [name for _, found in parts for name in found]
    any_known = np.any([~np.isnan(values) for values in rated.labels.values()], axis=0)
    chosen = np.flatnonzero(any_known).tolist()
    if len(chosen) < len(rated.names):
        notes.append(f"{len(rated.names) - len(chosen)} recordings without any rating are skipped")
    rated, references = rated.take(chosen), [references[index] for index in chosen]
    cut = finetuning.segments(rated.paths, paths.out / "windows", partial(stage, "recordings"))
    _report_refused(cut, len(chosen), notes)
    rated, references = rated.take(cut.scorable), [references[index] for index in cut.scorable]
    if len(rated.names) < LEAST:
        why = f" (for example {cut.refused[0][0]}: {cut.refused[0][1]})" if cut.refused else ""
        raise UsageError(
            f"{', '.join(config.labels)}: {len(rated.names)} rated recordings can be scored{why}; training needs "
            f"at least {LEAST}"
        )
    _check_constant(rated, config)
    if len(rated.names) < FEW:
        notes.append(
            f"{len(rated.names)} rated recordings: the figures have little meaning, because another division into "
            "training and test recordings would change them much; compare methods with --compare"
        )
    labels = dict(rated.labels)
    if any(references):
        labels = _with_true_values(labels, rated.paths, references, paths, stage, notes)
    unlabelled = _unlabelled(config, paths, stage, notes)
    return Material(
        rated.names, rated.paths, rated.groups, labels, rated.weights, cut, unlabelled, tuple(notes)
    )  # fmt: skip


def splits(material: Material, config: RatingsConfig, cells: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Assign a split to each recording; return the splits and notes.

    Args:
        material: The recordings.
        config: Grouping column.
        cells: Splits that a column of the table names; empty: divide by group.

    Raises:
        UsageError: If there is only one group.
    """
    if cells:
        return list(cells), []
    groups, notes = material.groups, []
    names = sorted(set(groups), key=by_hash)
    if len(names) < 2:
        raise UsageError(one_group(config.by, names[0]))
    if not config.by:
        notes.append(
            "recordings are held out one by one, because --by was not given: the same speaker or condition may be "
            "in training and test data, which makes the figures too optimistic"
        )
    test = _first(names, groups, TEST_SHARE * len(groups), leave=1)
    rest = [name for name in names if name not in test]
    if len(rest) > 1:
        held = _first(rest, groups, VALIDATION_SHARE * len(groups), leave=1)
        found = [RATED if g in test else "validation" if g in held else "train" for g in groups]
    else:
        notes.append(
            f"one group ({rest[0]}) remains for training and validation, so its recordings are divided: the epoch "
            "is chosen by recordings of the same group"
        )
        found = [RATED if g in test else "train" for g in groups]
        inside = sorted(
            np.flatnonzero(np.array(found) == "train").tolist(), key=lambda n: by_hash(material.names[n])
        )
        for index in inside[:: max(2, round(1 / VALIDATION_SHARE))]:
            found[index] = "validation"
    return calibrating(found, material.names), notes


def calibrating(found: Sequence[str], names: Sequence[str]) -> list[str]:
    """Move every second validation recording to the calibration of intervals, if there are enough for both."""
    places = sorted((n for n, split in enumerate(found) if split == "validation"), key=lambda n: by_hash(names[n]))
    if len(places) < 2 * calibration.LEAST:
        return list(found)
    moved = set(places[::2])
    return [CALIBRATION if n in moved else split for n, split in enumerate(found)]


def split_cells(config: RatingsConfig, paths: RunPaths, material: Material) -> list[str]:
    """Return the split of each recording by the column `ratings.split`; empty without one. Raises UsageError."""
    if not config.split:
        return []
    named_splits: dict[Path, str] = {}
    for name in config.labels:
        table = ratings.read(paths.data / name, *_columns(config))
        cells = table.column(config.split)
        for path, cell in zip(locate(table.files, table.path.parent), cells, strict=True):
            if cell not in SPLIT_NAMES:
                known = ", ".join(SPLIT_NAMES)
                raise UsageError(f"{table.path}, column {config.split!r}: {cell!r} is no split, expected {known}")
            named_splits[path.resolve()] = SPLIT_NAMES[cell]
    return [named_splits[path.resolve()] for path in material.paths]


def together(corpus: Dataset | None, tables: Dataset, config: RatingsConfig) -> Dataset:
    """Combine the clips of a corpus and of tables; each has its weight in the loss."""
    if corpus is None:
        return tables
    keys = tuple(dict.fromkeys((*corpus.labels, *tables.labels)))
    pairs = ((corpus, config.corpus_weight), (tables, config.weight))

    def column(data: Dataset, values: Mapping[str, Array], key: str, missing: float) -> Array:
        return values[key] if key in values else np.full(len(data.clips), missing)

    labels = {key: np.concatenate([column(d, d.labels, key, np.nan) for d, _ in pairs]) for key in keys}
    counted = {key: np.concatenate([w * column(d, d.weights, key, 1.0) for d, w in pairs]) for key in keys}
    return Dataset([*corpus.clips, *tables.clips], labels, counted)


def unlabelled(clips: Sequence[features.Clip]) -> Dataset:
    """Return clips without labels."""
    return Dataset(clips, {key: np.full(len(clips), np.nan) for key in KEYS})


def joined(sets: Sequence[Dataset]) -> Dataset:
    """Combine sets with the same labels; a set without weights has the weight 1."""
    keys = list(sets[0].labels)
    labels = {key: np.concatenate([each.labels[key] for each in sets]) for key in keys}
    counted = {
        key: np.concatenate([each.weights.get(key, np.ones(len(each.clips))) for each in sets]) for key in keys
    }
    return Dataset([clip for each in sets for clip in each.clips], labels, counted)


def pseudo_labels(
    record: models.ModelRecord, clips: Sequence[Excerpt], folder: Path, name: str, jobs: int, stage: Stage
) -> Labels:
    """Stage 1 of MPL: a pretrained model predicts PESQ, STOI and SDI of clips; NaN where it refuses one.

    Args:
        record: The model.
        clips: Segments.
        folder: Where the predictions are stored.
        name: First part of their names.
        jobs: Number of processes; 0 is one per core.
        stage: Called with the progress.

    Raises:
        ModelError: If the model does not predict PESQ, STOI and SDI.
    """
    keys = tuple(target.key for target in OBJECTIVE)
    if missing := [BY_KEY[key].name for key in keys if key not in record.targets]:
        raise ModelError(
            f"the model '{record.name}' does not predict {missing[0]}: choose another one with --teacher"
        )
    model = str(record.path)
    chunks = features.fill_chunks(
        clips, folder / record.sha256[:12], name, partial(_predict, model, keys), jobs,
        lambda a, b: stage(f"MOSA-Net predicts, {name}", a, b),
    )  # fmt: skip
    rows = [clip["scores"][0] for chunk in chunks for clip in features.read_chunk(chunk)]
    table = np.array(rows, dtype=np.float64).reshape(len(clips), len(keys))
    return dict(zip(keys, table.T, strict=True))


def with_known(pseudo: Labels, known: Labels) -> Labels:
    """Replace pseudo labels by true values where these are known."""
    return {
        key: np.where(np.isnan(known[key]), values, known[key]) if key in known else values
        for key, values in pseudo.items()
    }


def initial_network(config: Config, model: str) -> Network:
    """Return the network of a pretrained MOSA-Net, from which MTQ-Net starts.

    Raises:
        UsageError: If its dimensions or its front end differ from those of the configuration.
    """
    opened = weights.load(model)
    plain = replace(config.network, causes=False, distance=False)
    own = replace(opened.network.config, causes=False, distance=False)
    plain, own = (replace(one, dropout=0.0, input_dropout=0.0) for one in (plain, own))
    if plain != own or opened.front_end.key != features.FrontEnd.of_config(config).key:
        raise UsageError(
            f"method = 'transfer' and transfer = true start from the weights of '{opened.record.name}', whose "
            f"network has other dimensions or another front end: {_differences(plain, own)}; use its values in "
            "[network] and [encoder], or method = 'mpl' with transfer = false"
        )
    return opened.network


def _differences(one: NetworkConfig, other: NetworkConfig) -> str:
    own, theirs = vars(one), vars(other)
    found = [f"{name} = {theirs[name]!r}" for name in own if own[name] != theirs[name] and "dropout" not in name]
    return ", ".join(found) or "[encoder]"


def _table(config: RatingsConfig, path: Path, notes: Notes) -> tuple[finetuning.Rated, list[str]]:
    """Ratings of a table, and the name of each recording's reference (empty: none)."""
    table = ratings.read(path, *_columns(config))
    notes += [f"{path.name}: {note}" for note in table.notes]
    rated = finetuning.rated(table, path.parent, config.by)
    notes.append(f"{path.name}: {len(table.files)} recordings, {', '.join(_counts(table))}; {rated.weighting}")
    if not config.by:  # the same file in two tables is one group
        rated = replace(rated, groups=tuple(str(one.resolve()) for one in rated.paths))
    missing = np.full(len(table.files), np.nan)
    labels = {key: rated.labels.get(key, missing) for key in KEYS}
    counted = {key: rated.weights.get(key, np.ones(len(table.files))) for key in KEYS}
    references = [""] * len(table.files)
    if config.reference:
        cells = table.column(config.reference)
        found = locate([cell or "-" for cell in cells], path.parent)
        references = [str(one) if cell else "" for cell, one in zip(cells, found, strict=True)]
    return replace(rated, labels=labels, weights=counted), references


def _columns(config: RatingsConfig) -> tuple[str, dict[str, str]]:
    """Return the column of the recordings (empty: found by its name), and columns by score."""
    if wrong := [pair for pair in config.columns if "=" not in pair]:
        raise UsageError(f"ratings.columns: {wrong[0]!r}: write SCORE=COLUMN, such as s_mos=SIG")
    pairs = (pair.partition("=") for pair in config.columns)
    columns = {key.strip(): name.strip() for key, _, name in pairs}
    return columns.pop("file", ""), columns


def _counts(table: ratings.RatingTable) -> list[str]:
    return [
        f"{BY_KEY[key].name.split()[0]} of {int(np.isfinite(each.mean).sum())} (column {each.column})"
        for key, each in table.ratings.items()
    ]


def _once(parts: Sequence[finetuning.Rated], tables: Sequence[str]) -> None:
    """Raise UsageError if a recording is in two tables."""
    seen: dict[Path, str] = {}
    for part, name in zip(parts, tables, strict=True):
        for path in part.paths:
            before = seen.setdefault(path.resolve(), name)
            if before != name:
                raise UsageError(f"{path} is in {before} and in {name}: put its ratings into one table")


def _joined(parts: Sequence[finetuning.Rated]) -> finetuning.Rated:
    return finetuning.Rated(
        tuple(name for part in parts for name in part.names),
        tuple(path for part in parts for path in part.paths),
        {key: np.concatenate([part.labels[key] for part in parts]) for key in KEYS},
        {key: np.concatenate([part.weights[key] for part in parts]) for key in KEYS},
        tuple(group for part in parts for group in part.groups),
        parts[0].weighting,
    )


def _check_constant(rated: finetuning.Rated, config: RatingsConfig) -> None:
    for target in QUEST:
        known = rated.labels[target.key][~np.isnan(rated.labels[target.key])]
        if len(known) > 1 and np.ptp(known) == 0:
            raise UsageError(
                f"{', '.join(config.labels)}: all {len(known)} ratings of {target.name} are {known[0]:g}, from which "
                "nothing can be learned: check the column, or delete it"
            )
    if not any((~np.isnan(rated.labels[target.key])).any() for target in QUEST):
        raise UsageError(
            f"{', '.join(config.labels)}: no recording has a rating of S-, N- or G-MOS; with PESQ, STOI and SDI "
            "alone there is nothing for MTQ-Net to learn"
        )


def _report_refused(cut: finetuning.Segments, total: int, notes: Notes) -> None:
    if cut.refused:
        path, why = cut.refused[0]
        notes.append(
            f"{len(cut.refused)} of {total} recordings cannot be scored and are skipped, first: {path}: {why}"
        )


def _unlabelled(config: RatingsConfig, paths: RunPaths, stage: Stage, notes: Notes) -> tuple[Excerpt, ...]:
    found: list[Excerpt] = []
    for folder in config.unlabelled:
        files = batch.find(paths.data / folder)
        cut = finetuning.segments(files, paths.out / "windows", partial(stage, "unlabelled recordings"))
        _report_refused(cut, len(files), notes)
        found += cut.clips
    return tuple(found)


def _first(names: Sequence[str], groups: Sequence[str], wanted: float, leave: int) -> set[str]:
    """Return the first groups with at least `wanted` recordings together; at least `leave` groups remain."""
    counts: dict[str, int] = defaultdict(int)
    for group in groups:
        counts[group] += 1
    chosen: set[str] = set()
    for name in names[: len(names) - leave]:
        if sum(counts[one] for one in chosen) >= wanted:
            break
        chosen.add(name)
    return chosen


def _with_true_values(
    labels: Labels, paths: Sequence[Path], references: Sequence[str], run: RunPaths, stage: Stage, notes: Notes
) -> dict[str, Array]:
    """Add true PESQ, STOI and SDI where the table has none and names a reference."""
    pairs = {str(path): reference for path, reference in zip(paths, references, strict=True) if reference}
    chosen = [index for index, reference in enumerate(references) if reference]
    chunks = features.fill_chunks(
        [Excerpt(paths[index]) for index in chosen], run.out / "true", "true", partial(_true_values, pairs), run.jobs,
        lambda a, b: stage("true PESQ, STOI and SDI", a, b),
    )  # fmt: skip
    values = np.array([clip["values"][0] for chunk in chunks for clip in features.read_chunk(chunk)])
    result = dict(labels)
    for column, target in enumerate(OBJECTIVE):
        computed = np.full(len(paths), np.nan)
        computed[chosen] = values[:, column]
        result[target.key] = np.where(np.isnan(labels[target.key]), computed, labels[target.key])
    if failed := int(np.isnan(values).all(axis=1).sum()):
        notes.append(
            f"{failed} of {len(chosen)} clean references cannot be used: PESQ, STOI and SDI stay unknown there"
        )
    return result


def _true_values(references: Mapping[str, str], path: Path, clips: Sequence[Excerpt]) -> None:
    """Store PESQ, STOI and SDI of some recordings."""
    features.write_chunk(path, [{"values": _objective(clip, references[str(clip.path)])[None]} for clip in clips])


def _objective(clip: Excerpt, reference: str) -> Array:
    from mtqnet.labels import intrusive

    try:
        pair = intrusive.align(read_excerpt(Excerpt(Path(reference))), read_excerpt(clip))
    except (AudioError, LabelError):
        return np.full(3, np.nan)
    return np.array([_or_nan(measure, pair) for measure in (intrusive.pesq_wb, intrusive.stoi, intrusive.sdi)])


def _or_nan(measure: Callable[..., float], pair: Sequence[Any]) -> float:
    try:
        return measure(*pair)
    except LabelError:
        return float("nan")


def _predict(model: str, keys: tuple[str, ...], path: Path, clips: Sequence[Excerpt]) -> None:
    """Store the predictions of some clips."""
    predictor, found = _predictor(model), []
    for clip in clips:
        scores = predictor.score(read_excerpt(clip), SAMPLE_RATE)
        row = [np.nan if (value := scores.value(key)) is None else value for key in keys]
        found.append({"scores": np.array(row, dtype=np.float64)[None]})
    features.write_chunk(path, found)


@lru_cache(maxsize=1)
def _predictor(model: str) -> Predictor:
    return Predictor(model, threads=1, track=False)


@dataclass(frozen=True)
class Prepared:
    """Everything that a training on tables needs."""

    rows: list[Row]
    """A row per recording, and per clip of the corpus"""
    train: Dataset
    validation: Dataset
    pretrained: mpl.Pretrained | None
    notes: tuple[str, ...]
    about: Mapping[str, Any]
    """Entry `ratings` of the model's record"""


def prepare(config: Config, paths: RunPaths, stage: Stage) -> Prepared:
    """Read tables and corpus, compute features, and predict pseudo labels.

    Raises:
        UsageError: If a table cannot be used.
        ModelError: If the teacher cannot be used.
    """
    front_end, folder = features.FrontEnd.of_config(config), paths.out / "features"
    material = read(config.ratings, paths, stage)
    of_recording, notes = splits(material, config.ratings, split_cells(config.ratings, paths, material))
    if not {"train", "validation"} <= set(of_recording):
        raise UsageError(
            "the tables need recordings for training and for validation: check the column of the split"
        )
    clips = features.compute(
        front_end, material.segments.clips, folder, "rated", partial(stage, "features, rated"), paths.jobs
    )
    places = {split: np.flatnonzero(np.array(of_recording) == split) for split in SPLITS}
    train, validation = (material.dataset(clips, places[split]) for split in ("train", "validation"))
    in_train = np.flatnonzero(np.isin(material.segments.recording, places["train"]))
    excerpts = [material.segments.clips[n] for n in in_train]
    rows = material.rows(of_recording)
    use_unlabelled = bool(material.unlabelled) and config.method == "mpl"
    if use_unlabelled:
        more = features.compute(
            front_end,
            material.unlabelled,
            folder,
            "unlabelled",
            partial(stage, "features, unlabelled"),
            paths.jobs,
        )
        train, excerpts = joined((train, unlabelled(more))), [*excerpts, *material.unlabelled]
    elif material.unlabelled:
        notes.append(
            f"the unlabelled recordings are not used, because method = '{config.method}' has no pseudo labels"
        )
    if config.has_corpus:
        clips_of = corpus_rows(config, paths, stage)
        of_corpus = [dataset(front_end, clips_of, split, paths, stage) for split in ("train", "validation")]
        train, validation = (
            together(one, other, config.ratings) for one, other in zip(of_corpus, (train, validation), strict=True)
        )
        excerpts, rows = [*data_excerpts(clips_of, "train", paths), *excerpts], [*clips_of, *rows]
    about: dict[str, Any] = {
        "tables": [Path(name).name for name in config.ratings.labels],
        "recordings": len(material.names),
        "segments": len(clips),
        "groups": len(set(material.groups)),
        "by": config.ratings.by,
        "unlabelled": len(material.unlabelled),
        "splits": {split: len(index) for split, index in places.items()},
    }
    pretrained = None
    if config.pretrained_teacher and config.method != "scratch":
        record = models.find(config.pretrained_teacher)
        network = initial_network(config, config.pretrained_teacher) if config.initialised_from_teacher else None
        pseudo: Labels = {}
        if config.method == "mpl":
            pseudo = pseudo_labels(record, excerpts, paths.out / "pseudo", "train", paths.jobs, stage)
            about["teacher"] = {
                "name": record.name, "sha256": record.sha256, "figures": teacher_figures(pseudo, train.labels)
            }  # fmt: skip
            if config.ratings.true_values:
                pseudo = with_known(pseudo, train.labels)
        pretrained = mpl.Pretrained(pseudo, network)
    if not config.has_corpus and not config.pretrained_teacher and config.method != "scratch":
        raise UsageError("without a corpus, MOSA-Net must be a pretrained model: set `pretrained` or --teacher")
    return Prepared(rows, train, validation, pretrained, (*material.notes, *notes), about)


def teacher_figures(teacher: Labels, known: Labels) -> dict[str, dict[str, float]]:
    """Return LCC and number of clips for each target of the teacher whose true values are known."""
    from mtqnet.training.trainer import lcc

    found = {}
    for target in named([key for key in teacher if key in known]):
        there = ~np.isnan(known[target.key]) & ~np.isnan(teacher[target.key])
        if there.sum() > 2:
            values = lcc(target.compress(known[target.key][there]), target.compress(teacher[target.key][there]))
            found[target.key] = {"clips": int(there.sum()), "lcc": round(values, 4)}
    return found
