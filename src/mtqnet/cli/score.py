"""`mtqnet score`: options and help. score_run.py does the work."""

from __future__ import annotations

from typing import Annotated

import typer

from mtqnet.cli.options import Engine, Model
from mtqnet.errors import UsageError

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Recordings, folders, or - for standard input.", show_default=False),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Write the table to this file: .csv, .jsonl or .parquet. With --engine ray: a folder or URL.",
        show_default=False,
    ),
]
Channels = Annotated[
    str,
    typer.Option(
        "--channels",
        help="mix: score the mean of the channels. each: one row per channel. N: score channel N, counted from 1. "
        "For raw samples: the number of interleaved channels.",
    ),
]
Windows = Annotated[
    bool, typer.Option("--windows", help="Write one row per window of up to 10 s, with start_s and end_s.")
]
Causes = Annotated[
    bool,
    typer.Option(
        "--causes",
        help="Add the probabilities of seven kinds of degradation (noise, reverberation, clipping, band limitation, "
        "coding, packet loss, noise suppression), and on a terminal a sentence per recording.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep the rows of the existing table --output if model, mtqnet version and file are unchanged; score "
        "the other recordings.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        help="Sort by a score, worst first, for example g_mos; or by file. Not with --output.",
        show_default=False,
    ),
]
AsTable = Annotated[bool, typer.Option("--table", help="Print the formatted table even if the output is a pipe.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bar and no summary.")]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Number of processor cores to use; 0: all. Many recordings are scored by one process per core.",
    ),
]
Rate = Annotated[
    int | None,
    typer.Option(
        "--rate",
        min=1,
        help="Standard input is raw samples (16-bit integers, little-endian) at this rate in Hz.",
        show_default=False,
    ),
]

HELP = (
    "Predict S-MOS, N-MOS and G-MOS and estimate PESQ, STOI and SDI of recordings.\n\n"
    "On a terminal, the result is a formatted table; in a pipe or file, it is CSV. A recording that cannot be "
    "scored gets a row with the reason in the column error; the others are scored. Folders are searched for audio "
    "and video files, subfolders included.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet score call.wav[/]\n\n"
    "[cyan]mtqnet score calls/ more.flac -o scores.csv[/]\n\n"
    "[cyan]mtqnet score calls/ -o scores.csv --resume[/]\n\n"
    "[cyan]mtqnet score calls/ --model my.onnx > scores.csv[/]\n\n"
    "[cyan]mtqnet score agent_and_customer.wav --channels each[/]\n\n"
    "[cyan]mtqnet score meeting.flac --windows[/]\n\n"
    "[cyan]mtqnet score call.wav --causes[/]\n\n"
    "[cyan]cat call.flac | mtqnet score -[/]\n\n"
    "[cyan]arecord -t raw -f S16_LE -r 16000 | mtqnet score - --rate 16000[/]\n\n"
    "Standard input (-) is either a complete audio file, or raw samples if --rate states their sample rate. For raw "
    "samples, a row with the scores of the last 10 s is written every second.\n\n"
    "[cyan]mtqnet score s3://bucket/calls list.parquet shards/ --engine ray -o s3://bucket/scores[/]\n\n"
    "With --engine ray, the recordings are scored on a Ray cluster (needs mtqnet\\[ray]). Then PATH may also be a "
    "URL such as s3://bucket/calls, a list of recordings (a .csv or .parquet file with a column named file), or a "
    "WebDataset archive (.tar). --output is a folder, to which Parquet tables are written. If the same command is "
    "run again, only missing recordings are scored. The environment variable RAY_ADDRESS is the address of the "
    "cluster; without it, Ray is started on this machine.\n\n"
    "[bold]Exit codes[/]\n\n"
    "0: all recordings were scored. 1: some were not; the column error has the reasons. 2: wrong use (options, "
    "model or installation)."
)
"""Paragraphs are single lines, because the terminal's width decides where they are wrapped"""


def score(
    paths: Paths,
    output: Output = None,
    model: Model = "base",
    channels: Channels = "mix",
    windows: Windows = False,
    causes: Causes = False,
    resume: Resume = False,
    sort: Sort = None,
    table: AsTable = False,
    quiet: Quiet = False,
    jobs: Jobs = 0,
    rate: Rate = None,
    engine: Engine = "local",
) -> None:
    """Score files and folders into a table."""
    from mtqnet.cli import score_run as run
    from mtqnet.cli.options import need_engine
    from mtqnet.scoring.batch import parse_channels

    if rate is not None and run.STDIN not in paths:
        raise UsageError(
            "--rate applies to raw samples on standard input (-): audio files carry their own sample rate"
        )
    if need_engine(engine) == "ray":
        if channels != "mix" or sort is not None or causes:
            raise UsageError("--channels, --sort and --causes are not available with --engine ray: omit them")
        from mtqnet.integrations.ray.engine import ScaleOptions

        scale = ScaleOptions(model, workers=jobs, windows=windows, again=resume)
        raise typer.Exit(run.score_on_cluster(paths, output, scale, quiet))
    options = run.ScoreOptions(
        output, model, parse_channels(channels), windows, resume, sort, table, quiet, jobs, causes
    )  # fmt: skip
    if run.STDIN in paths:
        raise typer.Exit(run.score_stdin(rate, options, paths))
    raise typer.Exit(run.score_paths(paths, options))
