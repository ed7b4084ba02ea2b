"""`mtqnet score`, `plot` and `report`: scores of recordings as a table, a picture or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtqnet.cli.terminal import By, GroupTable, Model
from mtqnet.errors import SOME_NOT_SCORED, UsageError

SCORE_HELP = (
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
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Recordings, folders, or - for standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the table to this file: .csv, .jsonl or .parquet. With --engine ray: a folder or URL.",
        ),
    ] = None,
    model: Model = "base",
    channels: Annotated[
        str,
        typer.Option(
            "--channels",
            help="mix: score the mean of the channels. each: one row per channel. N: score channel N, counted from 1. "
            "For raw samples: the number of interleaved channels.",
        ),
    ] = "mix",
    windows: Annotated[
        bool, typer.Option("--windows", help="Write one row per window of up to 10 s, with start_s and end_s.")
    ] = False,
    causes: Annotated[
        bool,
        typer.Option(
            "--causes",
            help="Add the probabilities of seven kinds of degradation (noise, reverberation, clipping, band "
            "limitation, coding, packet loss, noise suppression), and on a terminal a sentence per recording.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep the rows of the existing table --output if model, mtqnet version and file are unchanged; score "
            "the other recordings.",
        ),
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", help="Sort by a score, worst first, for example g_mos; or by file. Not with --output."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bar and no summary.")] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            min=0,
            help="Number of processor cores to use; 0: all. Many recordings are scored by one process per core.",
        ),
    ] = 0,
    rate: Annotated[
        int | None,
        typer.Option(
            "--rate",
            min=1,
            help="Standard input is raw samples (16-bit integers, little-endian) at this rate in Hz.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="local: this machine; ray: a Ray cluster (mtqnet\\[ray]).")
    ] = "local",
) -> None:
    """Score files and folders into a table."""
    from mtqnet.cli import score_run as run
    from mtqnet.scoring.batch import parse_channels

    if rate is not None and run.STDIN not in paths:
        raise UsageError(
            "--rate applies to raw samples on standard input (-): audio files carry their own sample rate"
        )
    if engine == "ray":
        if channels != "mix" or sort is not None or causes:
            raise UsageError("--channels, --sort and --causes are not available with --engine ray: omit them")
        raise typer.Exit(run.score_on_cluster(paths, output, model, jobs, windows, resume, quiet))
    if engine != "local":
        raise UsageError(f"there is no engine {engine!r}: use local or ray")
    if urls := [path for path in paths if "://" in path]:
        raise UsageError(
            f"{urls[0]} is a URL: add --engine ray to score it on a Ray cluster, or download the files"
        )
    options = run.ScoreOptions(
        output, model, parse_channels(channels), windows, resume, sort, quiet, jobs, causes
    )  # fmt: skip
    if run.STDIN in paths:
        raise typer.Exit(run.score_stdin(rate, options, paths))
    raise typer.Exit(run.score_paths(paths, options))


PLOT_HELP = (
    "Draw a recording: waveform, spectrogram, the six scores over time, and the worst part if it differs from the "
    "rest. Needs mtqnet\\[analysis].\n\n"
    "Each point of a line is the score of the 3 s around it. The bars at the right end are the scores of the complete "
    "recording with their 90 % prediction intervals.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet plot call.wav --output call.png[/]"
)


def plot(
    file: Annotated[Path, typer.Argument(help="A recording.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png or .svg.")],
    model: Model = "base",
) -> None:
    """Draw a recording."""
    from mtqnet.audio.reading import read
    from mtqnet.cli.terminal import output_console
    from mtqnet.evaluation import plots
    from mtqnet.scoring.over_time import with_local_track
    from mtqnet.scoring.predictor import Predictor

    plots.check(output, [file])
    predictor = Predictor(model)
    scores = predictor.score(file).raise_for_error()
    samples = read(file).samples
    plots.draw_recording(samples, with_local_track(predictor, samples, scores), output)
    output_console().print(str(scores), soft_wrap=True, markup=False, highlight=False)


REPORT_HELP = (
    "Write one HTML page about a folder or a table of scores: distributions, the five worst recordings with players, "
    "flags (warnings about recordings), means by group, and a list of all recordings. The page needs no network. "
    "Needs mtqnet\\[analysis].\n\n"
    "The page contains the audio of these five only, at most 20 s of each. If SOURCE is a table, their audio is read "
    "from the paths in it.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet report calls/ -o report.html[/]\n\n"
    "[cyan]mtqnet report scores.csv --by phone --table phones.csv --sort n_mos -o report.html[/]"
)


def report(
    source: Annotated[
        Path, typer.Argument(help="A folder of recordings, or a table that `mtqnet score -o` wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    by: By = "",
    table: GroupTable = None,
    sort: Annotated[str, typer.Option(help="Score by which the recordings are sorted.")] = "g_mos",
    model: Model = "base",
) -> None:
    """Write a page about recordings."""
    from mtqnet.cli.terminal import check_options, scorer, tell, tell_notes, tell_unscored
    from mtqnet.evaluation import recordings
    from mtqnet.evaluation import report as reports
    from mtqnet.scoring.tables import check_output

    check_options([source], model, by, table)
    check_output(output, (".html", ".htm"), [source, table])
    reports.check_sort(sort)
    with scorer(model) as scoring:
        found = scoring.open(source, must_exist=True)
    reports.write(found, output, by, recordings.groups(found, by, table) if by else {}, sort)
    tell_notes(found.notes)
    tell_unscored(found.unscored, len(found.rows))
    tell(f"{len(found.scored)} recordings -> {output}", style="green")
    if found.unscored:
        raise typer.Exit(SOME_NOT_SCORED)
