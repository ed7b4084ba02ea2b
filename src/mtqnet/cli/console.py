"""What people see: tables, colours, the progress bar, the one red line. The verbs of cli.py call this.

Results go to stdout, everything said on the way to stderr, so that a pipe carries results alone. What needs rich
is imported where it is shown (screen.py, bars.py).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mtqnet import __version__
from mtqnet.errors import MtqnetError, UsageError
from mtqnet.scoring import batch, models, tables
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor, shown
from mtqnet.scoring.resume import Reopened, Wanted, reopen
from mtqnet.scoring.scores import Scores

WORTH_A_PROCESS = 64
"""Recordings that a process should have to score: to start takes it as long as 20 of 5 s take with base."""

ENGINES = ("local", "ray")

Advance = Callable[[float], None]
Scorer = Callable[[Sequence[Job]], Iterator[Scores]]


@dataclass(frozen=True)
class ScoreOptions:
    """What `mtqnet score` was asked for; cli.py says what each means."""

    output: Path | None = None
    model: str = "base"
    threads: int = 0
    jobs: int = 0
    quiet: bool = False
    table: bool = False
    """On the screen, whatever stdout is"""
    windows: bool = False
    resume: bool = False

    @property
    def layout(self) -> tables.Layout:
        return tables.WINDOWS if self.windows else tables.RECORDINGS


def score_paths(paths: Sequence[Path], options: ScoreOptions) -> int:
    """Score files and folders into a table: on the screen, on stdout as CSV, or in a file.

    Returns the exit code. Raises MtqnetError when nothing could be started.
    """
    if options.output is not None:
        tables.check(options.output)
    jobs = batch.expand(paths)
    score = _scorer(options, len(jobs))
    opened = _open(options, jobs)
    left = [job for job in jobs if shown(job.path) not in opened.done]
    tally = Tally(kept=len(jobs) - len(left))
    with opened.table as table, _bar(len(left), options.quiet) as advance:
        for scores in score(left):
            table.write(scores)
            tally.add(scores)
            advance(scores.duration_s or 0.0)
    if not options.quiet and (options.output is not None or (tally.failed and not sys.stdout.isatty())):
        tell(tally.summary(options.output), style="yellow" if tally.failed else "green")
    return tally.exit_code


def need_engine(name: str) -> str:
    """The name of what the work is done by. Raises UsageError for one that is none."""
    if name not in ENGINES:
        raise UsageError(f"no engine '{name}': there are {', '.join(ENGINES)}")
    return name


def _scorer(options: ScoreOptions, jobs: int) -> Scorer:
    """What makes rows of jobs, in order, in this process or in several. Raises ModelError."""
    processes = _processes(options, jobs)
    if processes <= 1:
        return partial(batch.score_jobs, Predictor(options.model, options.threads, track=False))
    from mtqnet.scoring import workers

    models.find(options.model).weights()  # what does not load should not cost a table
    return partial(workers.score_jobs, workers.Setting(options.model, options.threads or 1), processes)


def _processes(options: ScoreOptions, jobs: int) -> int:
    """As many as --jobs says, or as pay for their start; one where its threads were chosen instead."""
    if options.jobs:
        return min(options.jobs, jobs)
    return 1 if options.threads else min(batch.cores(), jobs // WORTH_A_PROCESS)


def _open(options: ScoreOptions, jobs: Sequence[Job]) -> Reopened:
    """The table, and which files it holds already."""
    if options.resume and options.output is None:
        raise UsageError("--resume goes on with a table: name it with --output")
    if options.output is None or not options.resume:
        return Reopened(open_table(options), frozenset())
    record = models.find(options.model)
    files = [shown(job.path) for job in jobs]
    return reopen(options.output, Wanted(files, record.sha256, __version__, options.layout))


def open_table(options: ScoreOptions) -> tables.Table:
    """An empty table, on the screen, on stdout or in a file."""
    return _on_stdout(options) if options.output is None else tables.create(options.output, options.layout)


def clock(seconds: float) -> str:
    """Minutes and seconds, such as "1:02.5"."""
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


def show_targets() -> None:
    """Print the table of the six targets."""
    from mtqnet.cli.screen import show_targets

    show_targets()


def show_flags(names: Sequence[str], markdown: bool) -> None:
    """Print the table of flags, or of those named. Raises UsageError for a name that is none."""
    from mtqnet.audio import flags

    unknown = [name for name in names if name not in flags.BY_KEY]
    if unknown:
        raise UsageError(f"no flag {unknown[0]}: there are {', '.join(flags.BY_KEY)}")
    if markdown:
        print(flags.markdown(), end="")
        return
    from mtqnet.cli.screen import show_flags

    show_flags([flags.BY_KEY[name] for name in names] or flags.FLAGS)


def tell(text: str, style: str = "") -> None:
    """One line on stderr."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr)
        return
    from mtqnet.cli.screen import tell

    tell(text, style)


def tell_error(text: str) -> None:
    tell(f"error: {text}", style="bold red")


@dataclass
class Tally:
    """Counts what became of the recordings, for the summary and the exit code."""

    scored: int = 0
    failed: int = 0
    kept: int = 0
    """Recordings whose rows were there"""
    codes: set[int] = field(default_factory=set)

    def add(self, scores: Scores) -> None:
        if scores.error is None:
            self.scored += 1
            return
        self.failed += 1
        error = scores.exception
        self.codes.add(error.exit_code if isinstance(error, MtqnetError) else MtqnetError.exit_code)

    @property
    def exit_code(self) -> int:
        """0: all were scored. The kind's own code: none was, all for the same kind of reason. 1: else."""
        if not self.failed:
            return 0
        return next(iter(self.codes)) if not self.scored + self.kept and len(self.codes) == 1 else 1

    def summary(self, output: Path | str | None) -> str:
        scored = self.scored + self.kept
        total = scored + self.failed
        where = f" -> {output}" if output is not None else ""
        reasons = f"; {self.failed} not: see the column `error`" if self.failed else ""
        kept = f" ({self.kept} before)" if self.kept else ""
        return f"scored {scored} of {total} recording{'s' * (total != 1)}{kept}{where}{reasons}"


class _PipedCsv(tables.CsvTable):
    """CSV on stdout, which is not ours to close."""

    def close(self, complete: bool) -> None:
        pass


def _on_stdout(options: ScoreOptions) -> tables.Table:
    if sys.stdout is None:  # closed by who started this
        raise UsageError("standard output is closed: write the table to a file with --output")
    if options.table or sys.stdout.isatty():
        from mtqnet.cli.screen import ScreenTable

        return ScreenTable(options.windows)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # the same bytes on every system
    return _PipedCsv(sys.stdout, options.layout)


def _bar(total: int, quiet: bool) -> AbstractContextManager[Advance]:
    """What is told of each row, with its seconds of audio: a progress bar, on a terminal."""
    if quiet or not sys.stderr.isatty():
        return nullcontext(lambda _: None)
    from mtqnet.cli.bars import scoring

    return scoring(total)
