"""docs/benchmarks.md, its picture and its table, from the rows of one run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from bars import BASE, SMALL, bars, cells
from measures import Row

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Palette of Okabe and Ito, which colour-blind people can distinguish, too"""
TITLES = {
    "clips": (
        "Time per second of audio",
        "Milliseconds of processing per second of audio, without loading the model; medians over several "
        "rounds. *decode + log-mel*: reading the file and computing log-mel features, without a model. DNSMOS "
        "scores windows of 9.01 s, one per second of audio, and repeats a shorter clip until it is longer "
        "than a window. Therefore it scores three windows for a clip of 6 s, seven for 8 s, but one for 10 s.",
    ),
    "memory": (
        "Peak memory",
        "MB of a new process that scores one clip on one core. *decode + log-mel* as above.",
    ),
    "first": (
        "Start-up",
        "Seconds from the start of a process to the score of a clip of 10 s, including imports.",
    ),
    "folder": (
        "A folder",
        "Seconds of audio that are scored per second, including start-up, with one process per core and one thread per "
        "process. DNSMOS and Distill-MOS score every fifth recording of the folder.",
    ),
    "same bytes": (
        "Reproducibility",
        "Number of different tables of scores that repeated runs over the same folder wrote; 1 means that all runs "
        "wrote the same bytes. *any jobs*: the runs with one and two processes together.",
    ),
    "streams": (
        "A live stream",
        "Milliseconds from the arrival of the last sample of a second to its score, on one core.",
    ),
    "installed": ("Installed size", "MB on disk, with all dependencies."),
}
LARGER_IS_BETTER = {"folder"}
LIMITS = (
    "Limits that the project set itself, and whether this run meets them; the measurements "
    "[follow](#time-per-second-of-audio). Speeds for clips of 6 to 10 s are "
    "those on one core, over the clips of 6, 8 and 10 s together: the sum of their processing times, divided "
    "by the sum of their durations. Most other figures are ratios of values in the tables below; *speechmos* "
    "is the package with DNSMOS."
)


def read(folder: Path) -> list[Row]:
    """The rows of an earlier run."""
    table = folder / "benchmarks.csv"
    if not table.exists():
        return []
    with table.open(newline="") as stream:
        return [_row(cells) for cells in csv.DictReader(stream)]


def _row(cells: dict[str, str]) -> Row:
    what = (cells["measure"], cells["scorer"], int(cells["cores"]), cells["clip"])
    return Row(*what, float(cells["value"]), cells["unit"], cells["run"])


def write(rows: Sequence[Row], machine: str, folder: Path) -> None:
    """benchmarks.csv, benchmarks.svg and benchmarks.md."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "benchmarks.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) | {"value": f"{row.value:.6g}"} for row in rows)
    if any(row.measure == "clips" for row in rows):
        draw(rows, folder / "benchmarks.svg")
    (folder / "benchmarks.md").write_text(text(rows, machine), encoding="utf-8")


def text(rows: Sequence[Row], machine: str) -> str:
    """Return the page: a table per measurement, and the ratios of mtqnet to the other predictors."""
    parts = [
        "# Speed, memory and size",
        "",
        "Written by `make bench`; edit the code, not this page.",
        "",
        machine,
        "",
    ]
    parts += ["## Limits", "", LIMITS, "", *_verdicts(rows), ""]
    if any(row.measure == "clips" for row in rows):
        parts += ["![Time per second of audio](benchmarks.svg)", ""]
    for measure, (title, says) in TITLES.items():
        found = [row for row in rows if row.measure == measure]
        if found:
            parts += [f"## {title}", "", f"{says} Measured {found[0].run}.", "", *_table(found), ""]
    ratios = [line for measure in TITLES for line in _ratios([row for row in rows if row.measure == measure])]
    if ratios:
        parts += [
            "## Ratios",
            "",
            "Ratio of the two values in this run, so that above 1 the first is better: faster, smaller, or more audio "
            "per second.",
            "",
        ]
        parts += ["| first | second | measurement | cores | ratio |", "|---|---|---|---|---|", *ratios, ""]
    return "\n".join(parts)


def _verdicts(rows: Sequence[Row]) -> list[str]:
    """Return the table of limits, and a note for each shipped model that was not measured."""
    missing = [name for name in (BASE, SMALL) if all(row.scorer != name for row in rows)]
    lines = [f"| {' | '.join(cells(bar))} |" for bar in bars(rows)]
    notes = [f"`{name.split()[1]}` was not measured." for name in missing]
    return [
        "| measure | measured | limit | verdict |",
        "|---|---|---|---|",
        *lines,
        *([""] if notes else []),
        *notes,
    ]


def _table(rows: Sequence[Row]) -> list[str]:
    scorers = list(dict.fromkeys(row.scorer for row in rows))
    cells = {(row.clip, row.cores, row.scorer): f"{row.value:.3g}" for row in rows}
    places = list(dict.fromkeys((row.clip, row.cores) for row in rows))
    lines = [
        f"| {clip or 'all'} | {cores or ''} | {' | '.join(cells.get((clip, cores, s), '') for s in scorers)} |"
        for clip, cores in places
    ]
    return [f"| | cores | {' | '.join(scorers)} |", "|---" * (2 + len(scorers)) + "|", *lines]


def _ratios(rows: Sequence[Row]) -> list[str]:
    """Return the ratios of mtqnet to each other predictor, where both were measured."""
    by_place = {(row.clip, row.cores, row.scorer): row for row in rows}
    lines = []
    for row in (row for row in rows if row.measure != "same bytes"):
        for other in dict.fromkeys(r.scorer for r in rows):
            baseline = by_place.get((row.clip, row.cores, other))
            if not _ours(row.scorer) or baseline is None or _ours(other):
                continue
            ratio = row.value / baseline.value if row.measure in LARGER_IS_BETTER else baseline.value / row.value
            what = f"{TITLES[row.measure][0].lower()}, {row.clip}".rstrip(", ")
            lines.append(f"| {row.scorer} | {other} | {what} | {row.cores or ''} | {ratio:.3g} |")
    return lines + _two_cores(rows)


def _two_cores(rows: Sequence[Row]) -> list[str]:
    folder = {(row.scorer, row.cores): row.value for row in rows if row.measure == "folder"}
    names = [name for name, cores in folder if cores == 2 and _ours(name) and (name, 1) in folder]
    return [f"| {n}, 2 cores | 1 core | a folder | | {folder[n, 2] / folder[n, 1]:.3g} |" for n in names]


def _ours(name: str) -> bool:
    return name.startswith("mtqnet ")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the time per second of audio against the length of the clip: a line per predictor, a panel per number
    of cores.
    """
    from matplotlib.figure import Figure

    speed = [row for row in rows if row.measure == "clips"]
    panels = sorted({row.cores for row in speed})
    scorers = list(dict.fromkeys(row.scorer for row in speed))
    figure = Figure(figsize=(4.2 * len(panels) + 1.4, 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, cores in zip(axes, panels, strict=True):
        for colour, name in zip(COLOURS * 3, scorers, strict=False):
            points = [(float(r.clip.split()[0]), r.value) for r in speed if (r.cores, r.scorer) == (cores, name)]
            axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
        axis.set(xscale="log", yscale="log", title=f"{cores} core{'s' * (cores > 1)}", xlabel="length of clip, s")
    axes[0].set_ylabel("ms per second of audio")
    axes[-1].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
