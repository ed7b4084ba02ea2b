"""`mtqnet train --compare`: the methods of the paper on tables of ratings, over groups and seeds.

Every group is the test group once (with more than MOST_FOLDS groups, several are tested together). Of the others,
some groups choose the epoch; the fold and the recordings are the same for all methods. The scores of all folds are
put together, so that a figure is over all recordings; intervals and paired differences are those of
evaluation/seeds.py, as in the paper's experiments (research/experiments).

    OUT/comparison/comparison.md, .csv and .svg   the table, its figures, and a plot
    OUT/scores/METHOD-SEED.npz                    predictions; a second call continues an interrupted one
"""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtqnet.errors import UsageError
from mtqnet.evaluation import seeds as figures
from mtqnet.evaluation.seeds import Difference, Interval, Resampled
from mtqnet.scoring import models
from mtqnet.targets import BY_KEY, QUEST, Target
from mtqnet.training import features, mpl, tables, tuning
from mtqnet.training.batches import Dataset, Labels
from mtqnet.training.config import Config, Method
from mtqnet.training.data import RunPaths, Stage
from mtqnet.training.export import load_weights
from mtqnet.training.features import Clip
from mtqnet.training.ratings import check_groups, divided, first_groups
from mtqnet.training.tuning import Sound, TuneConfig

MOST_FOLDS = 10
REFERENCE = "scratch"
"""The method that the others are compared with"""
METHODS: Mapping[str, str] = {
    "scratch": "from scratch: S-, N- and G-MOS alone",
    "transfer": "knowledge transfer: the same, starting from MOSA-Net",
    "mpl": "MPL",
    "mpl_unlabelled": "MPL with unlabelled recordings",
    "finetune": "fine-tuning of a finished model",
}
"""With transfer = true in the configuration, MPL starts from MOSA-Net, too"""
FINE_TUNED = "base"
MEAN = "mean"
"""Mean over the rated scores"""

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """Result."""

    page: Path
    rows: tuple[Line, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """Figures of one method and one score, over all recordings."""

    method: str
    target: str
    recordings: int
    lcc: Interval
    srcc: float
    mse: float
    less: Difference | None
    """LCC less that of REFERENCE"""


@dataclass(frozen=True)
class Fold:
    """Recordings of one fold."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Bench:
    """What all methods share."""

    config: Config
    material: tables.Material
    paths: RunPaths
    folds: tuple[Fold, ...]
    clips: Sequence[Clip]
    more: Sequence[Clip]
    """Unlabelled segments"""
    pseudo: Labels
    """Pseudo labels of the rated segments, then of the unlabelled ones"""


def compare(
    config: Config, paths: RunPaths, seeds: int, stage: Stage, model: str = FINE_TUNED,
    tune: TuneConfig | None = None,
) -> Comparison:  # fmt: skip
    """Run all methods and write the table.

    Args:
        config: Configuration with tables of ratings, without a corpus.
        paths: Where to read and write.
        seeds: Number of seeds.
        stage: Called with the progress.
        model: The model that is fine-tuned.
        tune: Options of the fine-tuning; its number of epochs is chosen by cross-validation in the training groups
            with the first seed.

    Raises:
        UsageError: If there is no table, a corpus, or only one group.
    """
    if config.has_corpus or not config.ratings.labels:
        raise UsageError("--compare needs tables of ratings (--labels) and a configuration without [corpus]")
    bench = _bench(config, paths, stage)
    results: dict[str, list[Labels]] = {}
    for method, name in METHODS.items():
        if method == "mpl_unlabelled" and not bench.more:
            continue
        run = (
            _tuner(bench, model, tune or TuneConfig(), stage)
            if method == "finetune"
            else partial(_train, bench, method)
        )
        results[method] = []
        for seed in range(1, seeds + 1):
            stage(name, seed - 1, seeds)
            results[method].append(_stored(bench, method, seed, run))
        stage(name, seeds, seeds)
    lines = tuple(summarise(results, bench.material.rated.labels))
    folder = paths.out / "comparison"
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(lines, folder / "comparison.csv")
    page = folder / "comparison.md"
    page.write_text(text(lines, bench, seeds), encoding="utf-8")
    plot(lines, folder / "comparison.svg")
    return Comparison(page, lines, bench.material.notes)


def folds(groups: Sequence[str], names: Sequence[str]) -> tuple[Fold, ...]:
    """Divide recordings: every group is tested once, and other groups choose the epoch."""
    everything, found = np.arange(len(groups)), []
    for test in divided(everything, groups, MOST_FOLDS):
        rest = np.setdiff1d(everything, test)
        keys = [groups[index] for index in rest]
        if len(set(keys)) < 3:
            keys = [names[index] for index in rest]
        chosen = first_groups(keys, tables.VALIDATION_SHARE * len(rest))
        held = np.array([key in chosen for key in keys])
        found.append(Fold(rest[~held], rest[held], test))
    return tuple(found)


def summarise(results: Mapping[str, Sequence[Labels]], truth: Labels) -> list[Line]:
    """Compute the figures of all methods: means over seeds, intervals, and differences from REFERENCE."""
    lines = []
    every = [run for runs in results.values() for run in runs]
    rated = [t for t in QUEST if np.isfinite(truth[t.key]).any() and all(t.key in run for run in every)]
    groups: list[tuple[str, list[Target]]] = [(target.key, [target]) for target in rated]
    if len(rated) > 1:
        groups.append((MEAN, rated))
    for key, targets in groups:
        known = np.all([~np.isnan(truth[t.key]) for t in targets], axis=0)
        inside = {t.key: truth[t.key][known] for t in targets}
        reference: Resampled | None = None
        for method, runs in results.items():
            scores = [{t.key: run[t.key][known] for t in targets} for run in runs]
            found = figures.mean_lcc(targets, inside, scores)
            single = [figures.measure(t, inside[t.key], run[t.key]) for run in scores for t in targets]
            less = None if reference is None else figures.difference(found, reference)
            reference = found if method == REFERENCE else reference
            lines.append(
                Line(
                    method, key, int(known.sum()), figures.interval(found),
                    float(np.mean([one.srcc for one in single])), float(np.mean([one.mse for one in single])), less,
                )
            )  # fmt: skip
    return lines


def write_csv(lines: Sequence[Line], path: Path) -> None:
    """Write the figures."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ("method", "target", "recordings", "lcc", "low", "high", "srcc", "mse", "less_scratch", "less_low",
             "less_high", "p")
        )  # fmt: skip
        for line in lines:
            less, numbers = line.less, [line.lcc.mean, line.lcc.low, line.lcc.high, line.srcc, line.mse]
            if less is not None:
                numbers += [less.mean, less.low, less.high, less.p]
            cells = ["n/a" if math.isnan(number) else f"{number:.4f}" for number in numbers]
            writer.writerow((line.method, line.target, line.recordings, *cells, *[""] * (9 - len(cells))))


def text(lines: Sequence[Line], bench: Bench, seeds: int) -> str:
    """Return the table as Markdown."""
    recordings = bench.material.rated
    rows = ["| score | method | LCC | SRCC | MSE | LCC less scratch | p |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        less = line.less
        cells = ("", "") if less is None else (
            f"{less.mean:+.3f} [{less.low:+.3f}, {less.high:+.3f}]", f"{less.p:.3f}"
        )  # fmt: skip
        name = BY_KEY[line.target].name if line.target in BY_KEY else MEAN
        rows.append(
            f"| {name} | {METHODS[line.method]} | {line.lcc.mean:.3f} [{line.lcc.low:.3f}, {line.lcc.high:.3f}] | "
            f"{line.srcc:.3f} | {line.mse:.3f} | {cells[0]} | {cells[1]} |"
        )
    by = bench.config.ratings.by or "recording"
    head = (
        f"{len(recordings.names)} rated recordings in {len(set(recordings.groups))} groups ({by}), "
        f"{len(bench.folds)} folds, {seeds} seeds, {len(bench.more)} unlabelled segments. Every "
        "recording is scored by networks that were not trained on its group. "
        "Brackets: 95 % intervals over seeds and recordings; differences are paired."
    )
    return "\n".join([head, "", *rows, ""])


def plot(lines: Sequence[Line], path: Path) -> None:
    """Plot LCC with its intervals."""
    import matplotlib as mpl_
    from matplotlib.figure import Figure

    mpl_.rcParams["svg.hashsalt"] = "mtqnet"
    targets = list(dict.fromkeys(line.target for line in lines))
    methods = list(dict.fromkeys(line.method for line in lines))
    figure = Figure(figsize=(2.2 * len(targets) + 1.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(methods):
        own = [line for line in lines if line.method == method]
        x = [targets.index(line.target) + (place - (len(methods) - 1) / 2) * 0.14 for line in own]
        axes.errorbar(
            x, [line.lcc.mean for line in own], yerr=[line.lcc.half for line in own], fmt="o", capsize=3,
            label=METHODS[method].partition(":")[0],
        )  # fmt: skip
    axes.set_xticks(range(len(targets)), [BY_KEY[key].name if key in BY_KEY else MEAN for key in targets])
    axes.set_ylabel("LCC, 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


def _bench(config: Config, paths: RunPaths, stage: Stage) -> Bench:
    """Read the tables and compute features and pseudo labels once for all methods."""
    material = tables.read(config.ratings, paths, stage)
    rated = material.rated
    check_groups(rated.groups, config.ratings.by)
    clips, more = tables.segment_features(config, material, paths, stage)
    record = models.find(config.pretrained_teacher)
    audio = [*material.segments.clips, *material.unlabelled]
    pseudo = mpl.pretrained_labels(record, audio, paths.out / "pseudo", "all", paths.jobs, stage)
    if config.ratings.true_values:
        everything = tables.labelled(material, clips, np.arange(len(rated.names)))
        pseudo = tables.with_known(pseudo, tables.joined((everything, Dataset(more, {}))).labels)
    return Bench(config, material, paths, folds(rated.groups, rated.names), clips, more, pseudo)


def _stored(bench: Bench, method: str, seed: int, run: Callable[[int, Fold, Path], Labels]) -> Labels:
    """Scores of all recordings by networks that were not trained on their groups; stored."""
    target = bench.paths.out / "scores" / f"{method}-{seed}.npz"
    if target.exists():
        with np.load(target) as stored:
            return {key: stored[key] for key in stored.files}
    scores: dict[str, Array] = {}
    for number, fold in enumerate(bench.folds):
        folder = target.with_suffix("") / str(number)
        for key, values in run(seed, fold, folder).items():
            scores.setdefault(key, np.full(len(bench.material.rated.names), np.nan))[fold.test] = values
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".tmp.npz")
    np.savez(unfinished, **scores)  # type: ignore[arg-type]
    unfinished.replace(target)
    shutil.rmtree(target.with_suffix(""), ignore_errors=True)
    return scores


def _train(bench: Bench, name: str, seed: int, fold: Fold, folder: Path) -> Labels:
    """Train by one method on a fold, and score its test recordings."""
    method: Method = "mpl" if name.startswith("mpl") else "scratch" if name == "scratch" else "transfer"
    config = replace(bench.config.with_method(method), seed=seed)
    train, validation = (
        tables.labelled(bench.material, bench.clips, part) for part in (fold.train, fold.validation)
    )
    chosen = tables.segments_of(bench.material, fold.train)
    if name == "mpl_unlabelled":
        train = tables.joined((train, Dataset(bench.more, {})))
        chosen = np.append(chosen, len(bench.clips) + np.arange(len(bench.more)))
    start = config.pretrained_teacher if config.initialised_from_teacher else ""
    network = mpl.initial_network(config, start) if start else None
    pretrained = mpl.Pretrained({key: values[chosen] for key, values in bench.pseudo.items()}, network)
    student = mpl.MPL(config, train, validation, folder, None, pretrained).run().student
    return tuning.scores(student, Sound.of(bench.material.segments, bench.clips), fold.test)


def _tuner(bench: Bench, model: str, config: TuneConfig, stage: Stage) -> Callable[[int, Fold, Path], Labels]:
    """Return a function that fine-tunes a model on a fold, and scores its test recordings."""
    opened, rated = load_weights(model), bench.material.rated
    clips = features.compute(
        opened.front_end, bench.material.segments.clips, bench.paths.out / "features",
        f"rated-{opened.record.name}", partial(stage, f"features for {opened.record.name}"), bench.paths.jobs,
    )  # fmt: skip
    known = [t.key for t in QUEST if not np.isnan(rated.labels[t.key]).all()]
    tuned, sound = (
        tuple(key for key in known if key in opened.record.targets),
        Sound.of(bench.material.segments, clips),
    )
    data = tuning.tuning_data(opened.network, sound, rated.labels, rated.weights, tuned, [])
    epochs: dict[bytes, int] = {}

    def run(seed: int, fold: Fold, _folder: Path) -> Labels:
        training, options = np.sort(np.concatenate([fold.train, fold.validation])), replace(config, seed=seed)
        if (key := fold.test.tobytes()) not in epochs:
            progress = partial(stage, f"number of epochs for {opened.record.name}")
            epochs[key], _ = tuning.search(opened.network, data, training, rated.groups, options, progress)
        network = tuning.tune(opened.network, data, training, epochs[key], options)
        return tuning.scores(network, sound, fold.test)

    return run
