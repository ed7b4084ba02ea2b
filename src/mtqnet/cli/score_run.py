"""Run `mtqnet score`: files, folders or standard input into a table on the terminal, in a pipe or in a file;
or, on a cluster, into a folder of tables.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtqnet import __version__
from mtqnet.audio import containers
from mtqnet.audio.reading import Channels
from mtqnet.causes import clock
from mtqnet.cli import INTERRUPTED
from mtqnet.cli.terminal import error_console, output_console, stages, tell
from mtqnet.cli.terminal import grid as new_grid
from mtqnet.errors import DONE, SOME_NOT_SCORED, EmptyAudioError, UsageError
from mtqnet.scoring import batch, models, tables
from mtqnet.scoring.batch import Advance, Job, Meter
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.resume import SourceLog, Wanted, reopen, state
from mtqnet.scoring.scores import Results, Scores, WindowScores, digits, sort_key, spoken
from mtqnet.scoring.stream import ENCODINGS, Stream
from mtqnet.scoring.tables import Layout, Table
from mtqnet.targets import TARGETS, Target

if TYPE_CHECKING:
    from rich.table import Table as Grid
    from rich.text import Text

STDIN = "-"
"""Path of standard input, also in the column `file`"""
READ_BYTES = 1 << 16
RAW_SAMPLE = ENCODINGS["s16le"]
TABLE_WIDTH = 200
"""Characters of a line of the table in a file or a pipe"""
INTERVALS_WIDTH = 100
"""Columns of the terminal from which scores are printed with their intervals"""
FILE_WIDTH = 16
"""Columns that the names of files have at least"""
NO_CAUSE = "no kind of degradation was found."
MAX_NAME = 40
"""Characters of a file name; of a longer one the end is shown"""
POOR_GOOD = {target.key: (2.5, 3.5) for target in TARGETS} | {
    "pesq_est": (2.0, 3.0),
    "stoi_est": (0.75, 0.9),
    "sdi_est": (0.3, 0.05),
}
"""Scores below the first value are red, from the second value on green. They have no other effect."""

Valued = Scores | WindowScores


@dataclass(frozen=True)
class ScoreOptions:
    """Options of `mtqnet score`; score.py describes them."""

    output: str | None = None
    model: str = "base"
    channels: Channels = "mix"
    windows: bool = False
    resume: bool = False
    sort: str | None = None
    quiet: bool = False
    jobs: int = 0
    causes: bool = False

    @property
    def path(self) -> Path | None:
        """Path of the output file."""
        return None if self.output is None else Path(self.output)

    @property
    def layout(self) -> Layout:
        """Layout of the table."""
        layout = tables.WINDOWS if self.windows else tables.RECORDINGS
        return tables.with_causes(layout) if self.causes else layout


@dataclass
class Tally:
    """Number of recordings by result."""

    scored: int = 0
    failed: int = 0
    kept: int = 0
    """Recordings whose rows were in the table before"""

    def add(self, scores: Scores) -> None:
        """Count a row."""
        if scores.error is None:
            self.scored += 1
        else:
            self.failed += 1

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        return SOME_NOT_SCORED if self.failed else DONE

    def tell(self, output: str | None, replaced: bool = False) -> None:
        """Print the last line of the command."""
        scored = self.scored + self.kept
        total = scored + self.failed
        where = "" if output is None else f" -> {output}{' (the earlier table was replaced)' if replaced else ''}"
        reasons = f"; {self.failed} not: see the column `error`" if self.failed else ""
        kept = f" ({self.kept} before)" if self.kept else ""
        text = f"scored {scored} of {total} recording{'s' * (total != 1)}{kept}{where}{reasons}"
        tell(text, style="yellow" if self.failed else "green")


def score_paths(paths: Sequence[str], options: ScoreOptions) -> int:
    """Score files and folders into a table.

    Returns:
        The exit code.

    Raises:
        MtqnetError: The options, the model or the installation do not allow scoring.
    """
    _check(options)
    jobs = batch.expand(paths)
    models.find(options.model).weights()  # a model that does not load must not replace a table
    with ExitStack() as stack:
        log, replaced = None, False
        done: Set[Path] = frozenset()
        if options.path is not None:
            tables.check_output(options.path, inputs=(job.path for job in jobs))
            stack.enter_context(tables.lock(options.path))
            replaced = options.path.exists() and not options.resume
            log = stack.enter_context(SourceLog(options.path, empty=not options.resume, channels=options.channels))
        if options.path is not None and log is not None and options.resume:
            wanted = Wanted(
                [job.path for job in jobs], models.find(options.model).sha256, __version__, options.layout,
                options.channels,
            )  # fmt: skip
            table, done = reopen(options.path, wanted, log)
        else:
            table = open_table(options)
        missing = [job for job in jobs if job.path not in done]
        tally = Tally(kept=len(jobs) - len(missing))
        meter = Meter(len(missing), not options.quiet)
        # before the threads of the progress bar
        rows = stack.enter_context(closing(_rows(missing, options, log, meter.recordings)))
        try:
            with table, meter:
                for scores in rows:
                    table.write(scores)
                    tally.add(scores)
                    meter.audio(scores.duration_s or 0.0)
        except KeyboardInterrupt:
            count = tally.scored + tally.failed + tally.kept
            if options.output is None:
                tell(f"interrupted after {count} recording{'s' * (count != 1)}", style="yellow")
            else:
                where = f"{count} row{'s' * (count != 1)} in {options.output}"
                tell(f"interrupted: {where}; continue with --resume", style="yellow")
            return INTERRUPTED
    if not options.quiet and (options.output is not None or (tally.failed and not sys.stdout.isatty())):
        tally.tell(options.output, replaced)
    return tally.exit_code


def _check(options: ScoreOptions) -> None:
    if options.path is not None:
        tables.check_output(options.path)
    if options.causes and not (record := models.find(options.model)).causes:
        raise UsageError(f"the model {record.name!r} predicts no causes: omit --causes, or use another --model")
    if options.resume and options.output is None:
        raise UsageError("--resume completes a table: name it with --output")
    if options.sort is not None:
        sort_key(options.sort)
        if options.output is not None:
            raise UsageError(
                "--sort applies to output on the terminal or in a pipe: omit --output, or omit --sort"
            )


def open_table(options: ScoreOptions, live: bool = False) -> Table:
    """Open an empty table on the terminal, in a pipe or in a file; for live audio a line per row on the terminal."""
    if options.path is not None:
        return tables.create(options.path, options.layout)
    if sys.stdout is None:  # closed by the program that started this one
        raise UsageError("standard output is closed: write the table to a file with --output")
    if sys.stdout.isatty():
        return LiveLines() if live else TerminalTable(options.windows, options.causes)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # the same bytes on every system
    return tables.StreamTable(sys.stdout, options.layout)


def _rows(
    jobs: Sequence[Job], options: ScoreOptions, log: SourceLog | None, advance: Advance
) -> Generator[Scores]:
    """Score jobs in separate processes and record the state of their files; the processes start at once."""
    from mtqnet.scoring.workers import Setting, score_jobs

    states: dict[str, tuple[Path, Any]] = {}

    def logged() -> Iterator[Job]:
        for job in jobs:
            states[batch.path_to_text(job.path)] = (job.path, state(job.path))
            yield job

    processes = _processes(options, len(jobs))
    setting = Setting(options.model, options.jobs if processes == 1 else 1, options.channels)
    scored = score_jobs(setting, processes, logged(), copy=True, advance=advance)

    def rows() -> Generator[Scores]:
        with _sigterm_as_exit(), closing(scored):
            for scores in scored if options.sort is None else sorted(scored, key=sort_key(options.sort)):
                if log is not None and scores.file in states:
                    log.add(*states.pop(scores.file))
                yield scores

    return rows()


def _processes(options: ScoreOptions, jobs: int) -> int:
    """Number of processes: --jobs, or as many as save time."""
    return max(1, min(options.jobs, jobs)) if options.jobs else batch.worthwhile_processes(jobs)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Close the table and remove temporary files when the process is terminated."""

    def terminate(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def score_stdin(rate: int | None, options: ScoreOptions, paths: Sequence[str]) -> int:
    """Score standard input: an audio file, or raw samples as they arrive.

    Returns:
        The exit code.

    Raises:
        UsageError: Options that do not fit.
        EmptyAudioError: There were no samples.
    """
    if len(paths) > 1:
        raise UsageError("- is standard input and must be the only path: score files in a separate command")
    if sys.stdin is None:  # closed by the program that started this one
        raise UsageError("standard input is closed: pipe a recording into this command")
    if options.resume:
        raise UsageError("standard input cannot be read again: omit --resume")
    if options.sort is not None:
        raise UsageError("--sort applies to files: omit it for standard input")
    _check(options)
    stdin = sys.stdin.buffer
    head = b"" if sys.stdin.isatty() else stdin.read(containers.HEAD_BYTES)
    if not head and not sys.stdin.isatty():
        raise EmptyAudioError(
            "standard input is empty (0 bytes): pipe an audio file or raw samples into this command"
        )
    raw, content = containers.container_of(head) is None, containers.content_of(head)
    if raw and content is not None:
        raise UsageError(f"standard input is {content}, not audio: pass an audio file, or raw samples with --rate")
    if raw and rate is None:
        raise UsageError(
            "standard input is not in a known audio format, so it is taken as raw samples: give their sample rate "
            "with --rate"
        )
    if raw and options.channels == "each":
        raise UsageError("--channels each applies to audio files: for raw samples give the number of channels")
    predictor = Predictor(options.model, options.jobs, track=False)
    tally = Tally()
    with tables.lock(options.path) if options.path is not None else nullcontext():
        if raw and rate is not None:
            channels = options.channels if isinstance(options.channels, int) else 1
            pieces = itertools.chain([head], iter(lambda: stdin.read1(READ_BYTES), b""))  # type: ignore[union-attr]
            rows: Iterable[Scores] = _raw_rows(pieces, Stream(predictor, rate, channels=channels), channels)
            table = open_table(replace(options, windows=True), live=True)
        else:
            rows = predictor.score_rows(io.BytesIO(head + stdin.read()), channels=options.channels)
            table = open_table(options)
        with table:
            for scores in rows:
                table.write(replace(scores, file=STDIN))
                tally.add(scores)
    if not tally.scored + tally.failed:
        raise EmptyAudioError("there were no samples on standard input")
    return DONE if raw and tally.scored else tally.exit_code


def _raw_rows(pieces: Iterable[bytes], stream: Stream, channels: int) -> Iterator[Scores]:
    """Score raw samples as they arrive; bytes of an incomplete sample wait for the rest."""
    frame, rest = RAW_SAMPLE.itemsize * channels, b""
    for piece in pieces:
        data = rest + piece
        complete = len(data) // frame * frame
        rest = data[complete:]
        yield from stream.feed(np.frombuffer(data[:complete], RAW_SAMPLE).reshape(-1, channels))
    yield from stream.finish()


def score_on_cluster(
    sources: Sequence[str], output: str | None, model: str, workers: int, windows: bool, again: bool, quiet: bool
) -> int:
    """Score sources on a Ray cluster into a folder of Parquet tables, and return the exit code.

    `workers`: scoring processes, 0: as many as the cluster has processors for. `again`: whether shards with recordings
    that were not scored are scored again. Raises MtqnetError if the options or the cluster do not allow scoring.
    """
    if output is None or output.lower().endswith((".csv", ".jsonl")):
        raise UsageError("--engine ray writes a folder of Parquet tables: name it with --output")
    if STDIN in sources:
        raise UsageError("standard input cannot be scored by a cluster: omit --engine ray")
    from mtqnet.integrations.ray import score_sources

    with stages(error_console(quiet)) as stage:
        done = itertools.count(1)
        result = score_sources(
            sources, output, model, workers=workers, windows=windows, again=again,
            advance=lambda _, shards: stage("shards", next(done), shards),
        )  # fmt: skip
    tally = Tally()
    for one in result.outcomes:
        scored = one.recordings - one.failed
        tally.failed += one.failed
        tally.scored += 0 if one.shard in result.kept else scored
        tally.kept += scored if one.shard in result.kept else 0
    if not quiet:
        tally.tell(output)
    return tally.exit_code


class TerminalTable(Table):
    """A table that is printed at the end, followed by the reasons of recordings that were not scored.

    Args:
        windows: Whether there is a row for each window.
        causes: Whether a sentence per recording describes the causes of low quality.
    """

    def __init__(self, windows: bool, causes: bool = False) -> None:
        self._rows: list[Scores] = []
        self._windows, self._causes = windows, causes

    def write(self, scores: Scores) -> None:
        """Keep a row until the end."""
        self._rows.append(scores)

    def close(self, complete: bool) -> None:  # noqa: ARG002 the rows are printed in either case
        """Print the table."""
        from rich.text import Text

        console = output_console(TABLE_WIDTH)
        scored = [row for row in self._rows if row.error is None]
        if scored:
            console.print(_grid(scored, self._windows, console.encoding, console.width >= INTERVALS_WIDTH))
        for row in (*(scored if self._causes else ()), *(row for row in self._rows if row.error is not None)):
            text = Text("" if row.error is None else "not scored ", style="bold red")
            text.append(
                printable(f"{_name(row, row.file or '')}: {row.error or row.cause or NO_CAUSE}"),
                "not bold default",
            )
            console.print(text, highlight=False, soft_wrap=True)


class LiveLines(Table):
    """One line per second on a terminal."""

    def write(self, scores: Scores) -> None:
        """Print the scores of the last window."""
        (window,) = scores.windows
        values = ((target, scores.value(target.key)) for target in TARGETS)
        text = "  ".join(spoken(target, value) for target, value in values if value is not None)
        flags = f"  ({', '.join(scores.flags)})" if scores.flags else ""
        print(f"{clock(window.end_s):>9}  {scores.error or text + flags}", flush=True)


def printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, by escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _grid(rows: Sequence[Scores], windows: bool, encoding: str, intervals: bool) -> Grid:
    """A row per recording or window, and the mean of several recordings."""
    from rich.markup import escape
    from rich.text import Text

    folder = _common_folder([row.file or "" for row in rows])
    shown = [target for target in TARGETS if any(row.value(target.key) is not None for row in rows)]
    flagged = any(row.flags for row in rows)
    plus_minus = "" if not intervals else "±" if encoding.lower().startswith("utf") else "+-"
    grid = new_grid(())
    grid.add_column(
        f"file, in {escape(printable(folder))}" if folder else "file", overflow="fold", min_width=FILE_WIDTH
    )
    for target in shown:
        grid.add_column(target.name.split()[0], justify="right", no_wrap=True)
    if flagged:
        grid.add_column("flags", style="yellow")
    lines: list[tuple[Scores, Valued]] = [
        (row, one) for row in rows for one in (row.windows if windows else (row,))
    ]
    for row, scored in lines:
        file = printable(_name(row, os.path.relpath(row.file or "", folder) if folder else row.file or ""))
        name = Text(file if len(file) <= MAX_NAME else "..." + file[3 - MAX_NAME :])
        if isinstance(scored, WindowScores):
            name.append(f"  {clock(scored.start_s)} to {clock(scored.end_s)}", style="dim")
        values = (_cell(target, scored, plus_minus) for target in shown)
        grid.add_row(name, *values, *([" ".join(row.flags)] if flagged else []))
    if len(rows) > 1 and not windows:
        grid.add_section()
        means = Results(tuple(rows)).mean()
        values = (Text(digits(target, means[target.key]), style="bold") for target in shown)
        grid.add_row(Text(f"mean of {len(rows)}", style="bold"), *values)
    return grid


def _name(row: Scores, file: str) -> str:
    return file if row.channel is None else f"{file} channel {row.channel}"


def _cell(target: Target, row: Valued, plus_minus: str) -> Text:
    from rich.text import Text

    value = row.value(target.key)
    if value is None:
        return Text("-", style="dim")
    poor, good = (end if target.higher_is_better else -end for end in POOR_GOOD[target.key])
    height = value if target.higher_is_better else -value
    colour = "green" if height >= good else "red" if height < poor else "yellow"
    cell = Text(digits(target, value), style=colour)
    interval = row.intervals.get(target.key)
    if plus_minus and interval is not None and not target.log:  # on a logarithmic scale it is not symmetric
        cell.append(f" {plus_minus}{digits(target, (interval.high - interval.low) / 2)}", style="dim")
    return cell


def _common_folder(files: Sequence[str]) -> str:
    """The folder that all files share, if naming it once makes the table narrower; else an empty text."""
    if len(files) < 2 or len({Path(file).is_absolute() for file in files}) > 1:
        return ""
    return os.path.commonpath([Path(file).parent for file in files])
