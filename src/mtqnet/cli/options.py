"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.errors import UsageError

if TYPE_CHECKING:
    from mtqnet.evaluation.recordings import Scorer

ENGINES = ("local", "ray")

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Name of a shipped model (base, small or mosa-net), or path of an .onnx file or its folder.",
    ),
]
Picture = Annotated[
    Path | None, typer.Option("--picture", "-p", help="Also draw the result: .png or .svg.", show_default=False)
]
By = Annotated[str, typer.Option(help="Grouping column, for example the room or the codec.", show_default=False)]
GroupTable = Annotated[
    Path | None,
    typer.Option(
        "--table", help="CSV file with a column of file names and the grouping column --by.", show_default=False
    ),
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
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Number of processes; 0: one per core.")]
Engine = Annotated[str, typer.Option("--engine", help="local: this machine; ray: a Ray cluster (mtqnet\\[ray]).")]


def need_engine(name: str) -> str:
    """Return the name of an engine. Raises UsageError if there is no such engine."""
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}: use {' or '.join(ENGINES)}")
    return name


def assigned(pairs: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Parse options such as file=wav and s_mos=SIG into ("wav", {"s_mos": "SIG"}). Raises UsageError."""
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--column {pair!r}: write SCORE=COLUMN, such as s_mos=SIG")
    columns = {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}
    return columns.pop("file", ""), columns


@dataclass(frozen=True)
class Scoring:
    """How recordings are scored that are not scored yet."""

    model: str

    @contextmanager
    def scorer(self) -> Iterator[Scorer]:
        """Yield a scorer; on a terminal it shows a progress bar."""
        from mtqnet.cli.terminal import error_console, stages
        from mtqnet.evaluation.recordings import Scorer

        console = error_console()
        if not console.is_terminal:
            yield Scorer(self.model)
            return
        with stages(console) as stage:
            yield Scorer(self.model, progress=stage)
