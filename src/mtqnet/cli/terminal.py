"""What the commands share: options, messages, progress bars and the width of tables.

Results go to standard output, everything else to standard error, so that a pipe carries results only. rich is
imported when it is needed, because it takes as long to load as numpy.
"""

from __future__ import annotations

import errno
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.errors import MissingExtraError, MtqnetError, UsageError, missing_extra

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mtqnet.evaluation.recordings import Scorer

PIPE_WIDTH = 160
"""Characters of a line of a table that is written into a file or a pipe"""
MOST_NAMED = 5
"""Recordings without a score that are listed one by one"""

EXTRAS = {
    "scipy": "analysis", "matplotlib": "analysis", "jinja2": "analysis", "pyarrow": "parquet", "av": "formats",
    "pesq": "corpus", "pystoi": "corpus", "pyroomacoustics": "corpus", "noisereduce": "corpus", "torch": "train",
    "safetensors": "train", "onnx": "train", "transformers": "hf", "fastapi": "serve", "uvicorn": "serve",
    "ray": "ray",
}  # fmt: skip
"""Optional package -> extra that installs it"""
COMMAND_EXTRAS = {"label": "corpus", "corpus": "corpus", "train": "train", "finetune": "train"}
"""Command -> extra with all that it needs; the one of its first missing package would not be enough"""

Stage = Callable[[str, int, int], None]
"""Name of the stage, items done, items in total"""

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name of a shipped model (base, small or mosa-net), or path of an .onnx file or its folder.",
    ),
]
Picture = Annotated[Path | None, typer.Option("--picture", "-p", help="Also draw the result: .png or .svg.")]
By = Annotated[str, typer.Option(help="Grouping column, for example the room or the codec.")]
GroupTable = Annotated[
    Path | None, typer.Option("--table", help="CSV file with a column of file names and the grouping column --by.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="SCORE=COLUMN, such as s_mos=SIG, or file=COLUMN: column to use if its name is not recognised; may be "
        "repeated."
    ),
]
Audio = Annotated[
    Path | None,
    typer.Option(
        help="Folder to which the file names of the table are relative.", show_default="the table's folder"
    ),
]


@contextmanager
def reported_errors(command: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turn exceptions of this package and of the file system into one line on stderr and an exit code.

    `command` returns the name of the command that runs.
    Characters that the terminal's encoding does not have are printed as escapes.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe that cannot show all characters
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except MtqnetError as error:
        tell_error(str(error))
        raise typer.Exit(error.exit_code) from error
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        extra = COMMAND_EXTRAS.get(command() or "", EXTRAS[module]) if EXTRAS[module] != "ray" else "ray"
        tell_error(str(missing_extra(f"this command (module {module!r})", extra)))
        raise typer.Exit(MissingExtraError.exit_code) from error
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of the pipe has closed it, as `| head` does
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        tell_error(
            f"{error}: what was written so far is kept; make room and repeat the command" if full else str(error)
        )
        raise typer.Exit(MtqnetError.exit_code) from error


def tell(text: str, style: str = "") -> None:
    """Print one line on stderr, in colour on a terminal; nothing where stderr is closed or full."""
    if sys.stderr is None:
        return
    with suppress(OSError):
        if not sys.stderr.isatty():
            print(text, file=sys.stderr)
            return
        from rich.text import Text

        error_console().print(Text(text, style=style), soft_wrap=True, highlight=False)


def tell_error(text: str) -> None:
    """Print an error message on stderr."""
    tell(f"error: {text}", style="bold red")


def tell_notes(notes: Sequence[str]) -> None:
    """Print what the user should know about the input, such as duplicated rows."""
    for note in notes:
        tell(f"note: {note}", style="yellow")


def tell_unscored(unscored: Sequence[tuple[str, str]], total: int) -> None:
    """Print how many recordings have no score, with the reasons of the first ones."""
    if not unscored:
        return
    lines = [f"{len(unscored)} of {total} recordings have no score:"]
    lines += [f"  {file}: {reason}" for file, reason in unscored[:MOST_NAMED]]
    if len(unscored) > MOST_NAMED:
        lines.append(f"  and {len(unscored) - MOST_NAMED} more")
    tell("\n".join(lines), style="yellow")


def error_console(quiet: bool = False) -> Console:
    """Return the console of standard error."""
    from rich.console import Console

    return Console(stderr=True, quiet=quiet)


def output_console(pipe_width: int = PIPE_WIDTH) -> Console:
    """Return the console of standard output; a file or a pipe gets a fixed width, so that no cell is broken."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=pipe_width)


def grid(left: Sequence[str], right: Sequence[str] = ()) -> Table:
    """Return an empty table with left-aligned columns, then right-aligned ones."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in left:
        made.add_column(heading, no_wrap=True)
    for heading in right:
        made.add_column(heading, justify="right")
    return made


@contextmanager
def stages(console: Console) -> Iterator[Stage]:
    """Show a progress bar with the remaining time for each stage; in a pipe, a line every LINE_S and at its end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from mtqnet.scoring.batch import LINE_S, duration

    began: dict[str, float] = {}
    printed: dict[str, float] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def stage(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)
            if console.is_terminal:
                return
            now = time.monotonic()
            started = began.setdefault(name, now)
            if done == total:
                console.print(f"{name}: {total} done", highlight=False)
            elif done and now - printed.get(name, started) >= LINE_S:
                printed[name] = now
                left = duration((now - started) * (total / done - 1))
                console.print(f"{name}: {done} of {total}, about {left} left", highlight=False)

        yield stage


@contextmanager
def scorer(model: str) -> Iterator[Scorer]:
    """Yield what scores recordings that are not scored yet; on a terminal it shows a progress bar."""
    from mtqnet.evaluation.recordings import Scorer

    console = error_console()
    if not console.is_terminal:
        yield Scorer(model)
        return
    with stages(console) as stage:
        yield Scorer(model, progress=stage)


def parse_columns(pairs: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Parse options such as file=wav and s_mos=SIG into ("wav", {"s_mos": "SIG"}). Raises UsageError."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--column {pair!r}: write SCORE=COLUMN, such as s_mos=SIG")
    columns = {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}
    return columns.pop("file", ""), columns


def check_options(sources: Sequence[Path], model: str, by: str = "", table: Path | None = None) -> None:
    """Raise UsageError for options that would have no effect."""
    from mtqnet.evaluation.recordings import is_table

    if table is not None and not by:
        raise UsageError("--table has the grouping column: name the column with --by, or omit --table")
    if model != "base" and sources and all(map(is_table, sources)):
        raise UsageError(
            f"--model has no effect on a table of scores: omit it, or give the recordings instead of {sources[0]}"
        )
