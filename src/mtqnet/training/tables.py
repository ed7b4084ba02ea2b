"""Training data from tables of ratings: recordings with S-, N- and G-MOS, and recordings without labels.

    tables         -> recordings with ratings, cut into segments (ratings.py); what cannot be scored is reported
    groups         -> training, validation, calibration and test recordings
    clean references, if a column names them -> true PESQ, STOI and SDI
    pretrained MOSA-Net -> pseudo labels: PESQ, STOI and SDI of every segment (stage 1 of MPL)

Groups are never divided, with one exception that is reported: if a single group remains for training and
validation, its recordings are divided. All stages are stored in the run's folder under names that depend on the
content of their recordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.errors import AudioError, LabelError, UsageError
from mtqnet.evaluation.ratings import read as read_table
from mtqnet.labels import intrusive
from mtqnet.labels.pairing import align
from mtqnet.scoring import batch, models
from mtqnet.targets import BY_KEY, KEYS, OBJECTIVE, QUEST, named
from mtqnet.training import evaluation, features, mpl
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config, RatingsConfig
from mtqnet.training.data import CALIBRATION, Row, RunPaths, Stage, corpus_rows, dataset, excerpts
from mtqnet.training.features import Clip, FrontEnd
from mtqnet.training.ratings import (
    RATED,
    SPLITS,
    Rated,
    Segments,
    by_hash,
    check_groups,
    first_groups,
    rated,
    scorable,
    segments,
)

FEW = 100
"""With fewer rated recordings the figures are reported as uncertain"""
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.15
"""Fractions of the recordings; the last group may make them larger"""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Material:
    """Recordings of all tables, and unlabelled ones."""

    rated: Rated
    """Labels by key of the six targets"""
    segments: Segments
    """Segments of these recordings"""
    unlabelled: tuple[Excerpt, ...]
    """Segments of the unlabelled recordings"""
    notes: tuple[str, ...]
    """What the user should know, one sentence each"""


def read(config: RatingsConfig, paths: RunPaths, stage: Stage) -> Material:
    """Read all tables, find and cut their recordings, and compute true values where a reference is named.

    Raises:
        UsageError: If a table or its ratings cannot be used; the message names table and row.
    """
    notes: list[str] = []
    parts = [_table(config, paths.data / name, notes) for name in config.labels]
    tables, known = ", ".join(config.labels), _joined(parts, config.labels)
    without = len(known.names) - len(known.with_any(KEYS))
    if without:
        notes.append(f"{without} recordings without any rating are skipped")
    known, cut = scorable(known, KEYS, paths.out / "windows", partial(stage, "recordings"), tables)
    notes += _refused(cut)
    _check_constant(known, tables)
    if len(known.names) < FEW:
        notes.append(
            f"{len(known.names)} rated recordings: the figures have little meaning, because another division into "
            "training and test recordings would change them much; compare methods with --compare"
        )
    if any(known.references):
        known = _with_true_values(known, paths, stage, notes)
    unlabelled: list[Excerpt] = []
    for folder in config.unlabelled:
        found = segments(
            batch.find(paths.data / folder), paths.out / "windows", partial(stage, "unlabelled recordings")
        )
        notes += _refused(found)
        unlabelled += found.clips
    return Material(known, cut, tuple(unlabelled), tuple(notes))


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
    scratch, is_mpl = config.method == "scratch", config.method == "mpl"
    if not (config.has_corpus or config.pretrained_teacher or scratch):
        raise UsageError("without a corpus, MOSA-Net must be a pretrained model: set `pretrained` or --teacher")
    material = read(config.ratings, paths, stage)
    recordings = material.rated
    of_recording, notes = splits(material, config.ratings)
    places = {split: np.flatnonzero(np.array(of_recording) == split) for split in SPLITS}
    if not (len(places["train"]) and len(places["validation"])):
        raise UsageError(
            "the tables need recordings for training and for validation: check the column of the split"
        )
    used = material if is_mpl else replace(material, unlabelled=())
    clips, more = segment_features(config, used, paths, stage)
    train, validation = (labelled(material, clips, places[split]) for split in ("train", "validation"))
    audio = [material.segments.clips[n] for n in segments_of(material, places["train"])]
    if more:
        train, audio = joined((train, Dataset(more, {}))), [*audio, *material.unlabelled]
    elif material.unlabelled:
        notes.append(
            f"the unlabelled recordings are not used, because method = '{config.method}' has no pseudo labels"
        )
    rows: list[Row] = [
        {
            "id": name, "file": str(path.resolve()), "split": split, "steps": [],
            **{BY_KEY[key].label: float(values[index]) for key, values in recordings.labels.items()},
        }
        for index, (name, path, split) in enumerate(zip(recordings.names, recordings.paths, of_recording, strict=True))
    ]  # fmt: skip
    if config.has_corpus:
        clips_of, factors = (
            corpus_rows(config, paths, stage),
            (config.ratings.corpus_weight, config.ratings.weight),
        )
        train, validation = (
            joined((dataset(FrontEnd.of_config(config), clips_of, split, paths, stage), own), factors)
            for split, own in (("train", train), ("validation", validation))
        )
        audio, rows = [*excerpts(clips_of, "train", paths), *audio], [*clips_of, *rows]
    about: dict[str, Any] = {
        "tables": [Path(name).name for name in config.ratings.labels],
        "recordings": len(recordings.names),
        "segments": len(clips),
        "groups": len(set(recordings.groups)),
        "by": config.ratings.by,
        "unlabelled": len(material.unlabelled),
        "splits": {split: len(index) for split, index in places.items()},
    }
    pretrained, name = None, config.pretrained_teacher
    if name and not scratch:
        record = models.find(name)
        network = mpl.initial_network(config, name) if config.initialised_from_teacher else None
        pseudo: Labels = {}
        if is_mpl:
            pseudo = mpl.pretrained_labels(record, audio, paths.out / "pseudo", "train", paths.jobs, stage)
            about["teacher"] = {
                "name": record.name, "sha256": record.sha256, "figures": teacher_figures(pseudo, train.labels)
            }  # fmt: skip
            if config.ratings.true_values:
                pseudo = with_known(pseudo, train.labels)
        pretrained = mpl.Pretrained(pseudo, network)
    return Prepared(rows, train, validation, pretrained, (*material.notes, *notes), about)


def splits(material: Material, config: RatingsConfig) -> tuple[list[str], list[str]]:
    """Return the split of each recording, from the table or by group, and notes.

    Raises:
        UsageError: If there is only one group.
    """
    names, groups = material.rated.names, material.rated.groups
    if material.rated.splits:
        return list(material.rated.splits), []
    check_groups(groups, config.by)
    notes = []
    if not config.by:
        notes.append(
            "recordings are held out one by one, because --by was not given: the same speaker or condition may be "
            "in training and test data, which makes the figures too optimistic"
        )
    test = first_groups(groups, TEST_SHARE * len(groups))
    rest = [group for group in groups if group not in test]
    if len(set(rest)) > 1:
        held = first_groups(rest, VALIDATION_SHARE * len(groups))
        found = [RATED if g in test else "validation" if g in held else "train" for g in groups]
    else:
        notes.append(
            f"one group ({rest[0]}) remains for training and validation, so its recordings are divided: the epoch "
            "is chosen by recordings of the same group"
        )
        found = [RATED if g in test else "train" for g in groups]
        inside = sorted((n for n, split in enumerate(found) if split == "train"), key=lambda n: by_hash(names[n]))
        for index in inside[:: max(2, round(1 / VALIDATION_SHARE))]:
            found[index] = "validation"
    return calibrating(found, names), notes


def calibrating(found: Sequence[str], names: Sequence[str]) -> list[str]:
    """Move every second validation recording to the calibration of intervals, if there are enough for both."""
    places = sorted((n for n, split in enumerate(found) if split == "validation"), key=lambda n: by_hash(names[n]))
    moved = set(places[::2]) if len(places) >= 2 * evaluation.LEAST else set()
    return [CALIBRATION if n in moved else split for n, split in enumerate(found)]


def segment_features(
    config: Config, material: Material, paths: RunPaths, stage: Stage
) -> tuple[list[Clip], list[Clip]]:
    """Compute the features of the segments of rated recordings, and of unlabelled ones."""
    front_end, folder = FrontEnd.of_config(config), paths.out / "features"
    rated, unlabelled = (
        features.compute(front_end, audio, folder, name, partial(stage, f"features, {name}"), paths.jobs)
        if audio else []
        for name, audio in (("rated", material.segments.clips), ("unlabelled", material.unlabelled))
    )  # fmt: skip
    return rated, unlabelled


def segments_of(material: Material, recordings: Indices) -> Indices:
    """Return the indices of the segments of these recordings."""
    return np.flatnonzero(np.isin(material.segments.recording, recordings))


def labelled(material: Material, clips: Sequence[Clip], recordings: Indices) -> Dataset:
    """Return the segments of some recordings with their labels; `clips` are all segments."""
    chosen = segments_of(material, recordings)
    index, shares = material.segments.recording[chosen], material.segments.shares[chosen]
    labels = {key: values[index] for key, values in material.rated.labels.items()}
    weights = {key: values[index] * shares for key, values in material.rated.weights.items()}
    return Dataset([clips[n] for n in chosen], labels, weights)


def joined(sets: Sequence[Dataset], factors: Sequence[float] = (1.0, 1.0)) -> Dataset:
    """Combine two sets, whose weights in the loss are multiplied by these factors; unknown labels are NaN."""
    keys = list(dict.fromkeys(key for each in sets for key in each.labels))
    labels = {
        key: np.concatenate([each.labels.get(key, np.full(len(each.clips), np.nan)) for each in sets])
        for key in keys
    }
    weights = {
        key: np.concatenate(
            [f * each.weights.get(key, np.ones(len(each.clips))) for each, f in zip(sets, factors, strict=True)]
        )
        for key in keys
    }
    return Dataset([clip for each in sets for clip in each.clips], labels, weights)


def with_known(pseudo: Labels, known: Labels) -> Labels:
    """Replace pseudo labels by true values where these are known."""
    return {
        key: np.where(np.isnan(known[key]), values, known[key]) if key in known else values
        for key, values in pseudo.items()
    }


def teacher_figures(teacher: Labels, known: Labels) -> dict[str, dict[str, float]]:
    """Return LCC and number of clips for each target of the teacher whose true values are known."""
    common = [key for key in teacher if key in known and np.isfinite(known[key] + teacher[key]).sum() > 2]
    found = [evaluation.compare("", target, known[target.key], teacher[target.key]) for target in named(common)]
    return {figure.target: {"clips": figure.clips, "lcc": figure.lcc} for figure in found}


def _table(config: RatingsConfig, path: Path, notes: list[str]) -> Rated:
    """Ratings of a table, with labels and weights of all six targets."""
    if wrong := [pair for pair in config.columns if "=" not in pair]:
        raise UsageError(f"ratings.columns: {wrong[0]!r}: write SCORE=COLUMN, such as s_mos=SIG")
    pairs = (pair.partition("=") for pair in config.columns)
    columns = {key.strip(): name.strip() for key, _, name in pairs}
    table = read_table(path, columns.pop("file", ""), columns)
    found = rated(table, path.parent, config.by, config.reference, config.split)
    counts = ", ".join(
        f"{BY_KEY[key].name.split()[0]} of {int(np.isfinite(each.mean).sum())} (column {each.column})"
        for key, each in table.ratings.items()
    )
    notes += [f"{path.name}: {note}" for note in table.notes]
    notes.append(f"{path.name}: {len(table.files)} recordings, {counts}; {found.weighting}")
    if not config.by and len(config.labels) > 1:  # the same name in two tables is another recording
        found = replace(found, groups=tuple(f"{path}: {name}" for name in found.names))
    missing, ones = np.full(len(table.files), np.nan), np.ones(len(table.files))
    labels = {key: found.labels.get(key, missing) for key in KEYS}
    return replace(found, labels=labels, weights={key: found.weights.get(key, ones) for key in KEYS})


def _joined(parts: Sequence[Rated], tables: Sequence[str]) -> Rated:
    """Combine tables. Raises UsageError if a recording is in two of them."""
    seen: dict[Path, str] = {}
    for part, name in zip(parts, tables, strict=True):
        for path in part.paths:
            before = seen.setdefault(path.resolve(), name)
            if before != name:
                raise UsageError(f"{path} is in {before} and in {name}: put its ratings into one table")

    def column(name: str) -> tuple[str, ...]:
        return tuple(cell for part in parts for cell in getattr(part, name))

    labels = {key: np.concatenate([part.labels[key] for part in parts]) for key in KEYS}
    weights = {key: np.concatenate([part.weights[key] for part in parts]) for key in KEYS}
    paths = tuple(path for part in parts for path in part.paths)
    return Rated(
        column("names"), paths, labels, weights, column("groups"), parts[0].weighting, column("references"),
        column("splits"),
    )  # fmt: skip


def _check_constant(rated: Rated, tables: str) -> None:
    known = {target.name: rated.labels[target.key][~np.isnan(rated.labels[target.key])] for target in QUEST}
    for name, values in known.items():
        if len(values) > 1 and np.ptp(values) == 0:
            raise UsageError(
                f"{tables}: all {len(values)} ratings of {name} are {values[0]:g}, from which nothing can be learned: "
                "check the column, or delete it"
            )
    if not any(len(values) for values in known.values()):
        raise UsageError(
            f"{tables}: no recording has a rating of S-, N- or G-MOS; with PESQ, STOI and SDI alone there is nothing "
            "for MTQ-Net to learn"
        )


def _refused(cut: Segments) -> list[str]:
    if not cut.refused:
        return []
    (path, why), total = cut.refused[0], len(cut.refused) + len(cut.scorable)
    return [f"{len(cut.refused)} of {total} recordings cannot be scored and are skipped, first: {path}: {why}"]


def _with_true_values(rated: Rated, run: RunPaths, stage: Stage, notes: list[str]) -> Rated:
    """Add true PESQ, STOI and SDI where the table has none and names a reference."""
    chosen = [index for index, reference in enumerate(rated.references) if reference]
    pairs = {str(rated.paths[index]): rated.references[index] for index in chosen}
    found = features.stored(
        [Excerpt(rated.paths[index]) for index in chosen], run.out / "true", "true", partial(_true_values, pairs),
        run.jobs, partial(stage, "true PESQ, STOI and SDI"),
    )  # fmt: skip
    computed = np.full((len(rated.paths), len(OBJECTIVE)), np.nan)
    computed[chosen] = [clip["values"][0] for clip in found]
    if failed := int(np.isnan(computed[chosen]).all(axis=1).sum()):
        notes.append(
            f"{failed} of {len(chosen)} clean references cannot be used: PESQ, STOI and SDI stay unknown there"
        )
    known = {
        target.key: np.where(np.isnan(rated.labels[target.key]), computed[:, column], rated.labels[target.key])
        for column, target in enumerate(OBJECTIVE)
    }
    return replace(rated, labels={**rated.labels, **known})


def _true_values(references: Mapping[str, str], clips: Sequence[Excerpt]) -> list[features.Views]:
    """Return PESQ, STOI and SDI of some recordings; NaN where they cannot be computed."""
    found = np.full((len(clips), len(OBJECTIVE)), np.nan)
    for row, clip in zip(found, clips, strict=True):
        with suppress(AudioError, LabelError):
            reference = read_excerpt(Excerpt(Path(references[str(clip.path)])))
            pair = align(reference, read_excerpt(clip))
            for column, measure in enumerate((intrusive.pesq_wb, intrusive.stoi, intrusive.sdi)):
                with suppress(LabelError):
                    row[column] = measure(*pair)
    return [{"values": row[None]} for row in found]
