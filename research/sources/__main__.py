"""Download and convert public speech and noise into folders for `mtqnet corpus build`.

    python -m research.sources --out corpora
    python -m research.sources --out corpora --only kerstin --only ljspeech
    python -m research.sources --out corpora --mirror /srv/git
    python -m research.sources --out corpora --summary

Result: OUT/speech/NAME and OUT/noise/NAME, each with FLAC files at 16 kHz and an index.csv that names source, licence
and credit of each file. A source that has its index.csv is complete and is skipped, so that a stopped run resumes.
Needs git; Debian packages need apt-get and dpkg-deb.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from research.sources.catalogue import SPEECH, Source
from research.sources.noises import NOISE
from research.sources.routes import Places, SourceError
from research.sources.store import folder_of, store

MIN_BANDWIDTH_HZ = 6500


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if a source failed."""
    options = _parser().parse_args(arguments)
    sources = {source.name: source for source in (*SPEECH, *NOISE)}
    if unknown := [name for name in options.only if name not in sources]:
        print(f"unknown source {unknown[0]!r}; known: {', '.join(sources)}", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    failed: dict[str, str] = {}
    if not options.summary:
        chosen = [sources[name] for name in options.only or sources]
        failed = _store_all(chosen, options, console)
    for table in summary(options.out):
        Console(width=None if sys.stdout.isatty() else 120).print(table)
    for name, reason in failed.items():
        console.print(f"{name}: {reason}", style="red", markup=False, highlight=False)
    return 1 if failed else 0


def summary(out: Path) -> list[Table]:
    """Return tables of what is stored: per source, and in all."""
    tables = []
    for kind in ("speech", "noise"):
        columns = ("speakers", "unlabelled", "languages") if kind == "speech" else ("recordings", "kinds", "")
        table = Table("source", "files", "minutes", *columns, "licence", title=kind)
        seen: dict[str, set[str]] = defaultdict(set)
        seconds, files, unlabelled = 0.0, 0, 0
        for index in sorted((out / kind).glob("*/index.csv")):
            with index.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.DictReader(stream))
            minutes = sum(float(row["seconds"]) for row in rows) / 60
            if kind == "speech":
                people = {row["speaker"] for row in rows if not row["unlabelled"]}
                groups = {row["speaker"]: int(row["unlabelled"]) for row in rows if row["unlabelled"]}
                cells = [people, {row["language"].split("-")[0] for row in rows}]
                shown = [str(len(people)), str(sum(groups.values()) or ""), " ".join(sorted(cells[1]))]
                unlabelled += sum(groups.values())
            else:
                cells = [{row["group"] for row in rows}, {row["kind"] for row in rows}]
                shown = [str(len(cells[0])), " ".join(sorted(cells[1])), ""]
            seen["first"] |= cells[0]
            seen["second"] |= cells[1]
            seconds += minutes * 60
            files += len(rows)
            licences = sorted({row["licence"] for row in rows})
            table.add_row(index.parent.name, str(len(rows)), f"{minutes:.1f}", *shown, ", ".join(licences))
        totals = [str(len(seen["first"])), str(unlabelled or ""), str(len(seen["second"]))]
        if kind == "noise":
            totals = [totals[0], totals[2], ""]
        table.add_section()
        table.add_row("all", str(files), f"{seconds / 60:.1f} ({seconds / 3600:.2f} h)", *totals, "")
        tables.append(table)
    return tables


def _store_all(chosen: list[Source], options: argparse.Namespace, console: Console) -> dict[str, str]:
    failed: dict[str, str] = {}
    places = Places(options.cache or options.out / ".cache", options.mirror)
    with Progress(console=console) as bar:
        for source in chosen:
            folder = folder_of(source, options.out)
            if (folder / "index.csv").exists() and not options.again:
                continue
            task = bar.add_task(source.name, total=None)
            try:
                outcome = store(
                    source,
                    places,
                    options.out,
                    lambda done, total, task=task: bar.update(task, completed=done, total=total),  # type: ignore[misc]
                )
            except (SourceError, OSError) as error:
                failed[source.name] = str(error)
                shutil.rmtree(folder, ignore_errors=True)
                console.print(f"{source.name}: failed: {error}", markup=False, highlight=False)
                continue
            left = ", ".join(f"{count} {reason}" for reason, count in outcome.rejected.items())
            console.print(
                f"{source.name}: {len(outcome.rows)} files, {outcome.minutes:.1f} minutes; rejected: {left or 'none'}",
                markup=False, highlight=False,
            )  # fmt: skip
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m research.sources", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder to write to.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="Only this source; repeatable."
    )
    parser.add_argument("--mirror", type=Path, help="Folder of git directories to read instead of the network.")
    parser.add_argument("--cache", type=Path, help="Folder for downloads (default: OUT/.cache).")
    parser.add_argument("--again", action="store_true", help="Convert sources again that are complete.")
    parser.add_argument("--summary", action="store_true", help="Only print what is stored in OUT.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
