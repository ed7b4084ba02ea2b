"""The verbs of this room for the command line: options and help; each calls one function of console.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", "-m", help="A shipped model, or the path of an .onnx file.")]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Threads to compute with; 0 is one per core.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Picture = Annotated[
    Path | None, typer.Option("--picture", "-p", help="Also draw it: .png or .svg.", show_default=False)
]


By = Annotated[str, typer.Option(help="Column that says which group a recording is of.", show_default=False)]
GroupTable = Annotated[
    Path | None,
    typer.Option("--table", help="CSV with a column of files and the one of --by.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Make these verbs part of the command line."""
    app.command("evaluate", help=EVALUATE_HELP)(evaluate)
    app.command("compare", help=COMPARE_HELP)(compare)
    app.command("gate", help=GATE_HELP)(gate)
    app.command("plot", help=PLOT_HELP)(plot)
    app.command("report", help=REPORT_HELP)(report)
    app.command("invariance", help=INVARIANCE_HELP)(invariance)
    app.command("card", help=CARD_HELP)(card)


EVALUATE_HELP = (
    "Hold scores against your listeners' ratings: LCC, SRCC, Kendall's tau, RMSE and RMSE* (ITU-T P.1401), before "
    "and after a third-order mapping, per recording and per condition, each with a 95 % interval.\n\n"
    "LABELS is a table as it is found: results of the P.808 toolkit, the NISQA corpus, VoiceMOS and CHiME lists, "
    "3QUEST exports as CSV, or any CSV with a column of files and one or more of s_mos (SIG), n_mos (BAK), g_mos "
    "(OVRL, MOS). Empty cells are allowed. Its recordings are scored now, or taken from --scores. Ratings on "
    "another scale than 1 to 5 (MUSHRA) get correlations, and RMSE after mapping only. Needs "
    "mtqnet\\[analysis].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet evaluate ratings/labels.csv --picture scatter.png[/]\n\n"
    "[cyan]mtqnet evaluate votes.csv --audio wavs --column s_mos=SIG --by codec -o result.md[/]"
)


def evaluate(
    labels: Annotated[Path, typer.Argument(help="Table of ratings.", metavar="LABELS", show_default=False)],
    scores: Annotated[
        Path | None, typer.Option(help="Scores that `mtqnet score -o` wrote; else the files are scored now.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Folder that the table's names are told from.", show_default="the table's")
    ] = None,
    file_column: Annotated[str, typer.Option(help="Column of the recordings, if it is not found.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="SCORE=COLUMN: where its ratings are, as s_mos=SIG; again for more.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Column of the conditions to average over.", show_default="condition, system, ...")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write it: .csv, .json or .md.", show_default=False)
    ] = None,
    picture: Picture = None,
    model: Model = "base",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Hold scores against ratings."""
    from mtqnet.cli.evaluation_console import Columns, Scoring, evaluate_labels

    columns = Columns(file_column, column or [], by)
    evaluate_labels(labels, scores, audio, columns, output, picture, Scoring(model, threads, quiet))


COMPARE_HELP = (
    "Say which of two or more sets of recordings is better: the difference on every score with a 95 % interval, "
    "its effect size, and a verdict in words.\n\n"
    "A set is a folder, or a table that `mtqnet score -o` wrote. Recordings are paired by their names, whatever "
    "the suffix; --unpaired compares the sets as wholes. With --by, also within each value of a column: of the "
    "tables of scores, or of a CSV given as --table. On SDI less is better; its differences are factors. "
    "Every interval is one of 95 % by itself: of twenty differences that are none, one is found by chance.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet compare noisy/ enhanced/ --picture difference.png[/]\n\n"
    "[cyan]mtqnet compare before.csv after.csv --by room --table rooms.csv --json[/]"
)


def compare(
    sets: Annotated[
        list[Path], typer.Argument(metavar="A B [C ...]", help="Folders or tables.", show_default=False)
    ],
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Other recordings in each set.")] = False,
    by: By = "",
    table: GroupTable = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    picture: Picture = None,
    model: Model = "base",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Compare sets of recordings."""
    from mtqnet.cli.evaluation_console import Grouping, Scoring, compare_sets

    compare_sets(sets, not unpaired, Grouping(by, table), as_json, picture, Scoring(model, threads, quiet))


GATE_HELP = (
    "Hold recordings against limits, as a check in CI: exit code 0 if all limits are met, 3 if one is not.\n\n"
    "A limit is KEY=VALUE, or KEY.STATISTIC=VALUE with mean, worst or a percentile such as p10. --max-drop holds "
    "them against a baseline, a folder or a table of scores, over the recordings that both have: at most so much "
    "worse. A recording without a score fails the gate, unless --unscored allows it. Limits may stand in a TOML "
    "file (--rules); options go before it.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet gate out/ --min g_mos=3.2 --min n_mos.worst=2 --max sdi_est=0.3 --junit gate.xml[/]\n\n"
    "[cyan]mtqnet gate out/ --max-drop g_mos=0.1 --against baseline.csv[/]\n\n"
    "[cyan]mtqnet gate out/ --rules gate.toml --json[/]"
)


Limits = list[str] | None


def gate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Recordings, folders, or one table.", show_default=False)
    ],
    minimum: Annotated[
        Limits, typer.Option("--min", help="A score is this high, or higher; again for more.")
    ] = None,
    maximum: Annotated[Limits, typer.Option("--max", help="A score is this low, or lower.")] = None,
    max_drop: Annotated[Limits, typer.Option("--max-drop", help="A score is at most this much worse.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Baseline of --max-drop: a folder or a table.", show_default=False)
    ] = None,
    statistic: Annotated[
        str, typer.Option(help="Of limits that name none: mean, worst, p10, ...", show_default="mean")
    ] = "",
    unscored: Annotated[
        int | None, typer.Option(min=0, help="Recordings that may go without a score.", show_default="0")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="TOML file of limits.", show_default=False)] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    model: Model = "base",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Hold recordings against limits."""
    from mtqnet.cli.evaluation_console import Asked, Scoring, gate_paths

    limits = {"min": minimum or [], "max": maximum or [], "max-drop": max_drop or []}
    asked = Asked(rules, limits, statistic, unscored, against)
    gate_paths(paths, asked, junit, as_json, Scoring(model, threads, quiet))


PLOT_HELP = (
    "Draw a recording: waveform, spectrogram, the six scores over time, and the worst stretch, if one stands out. "
    "Needs mtqnet\\[analysis].\n\n"
    "Lines are the scores of the 3 s about each moment; the band at their end is the interval of the whole.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet plot call.wav --output call.png[/]"
)


def plot(
    file: Annotated[Path, typer.Argument(help="A recording.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png or .svg.")],
    model: Model = "base",
    threads: Threads = 0,
) -> None:
    """Draw a recording."""
    from mtqnet.cli.evaluation_console import plot_recording

    plot_recording(file, output, model, threads)


REPORT_HELP = (
    "Write one HTML page about a folder or a table of scores: distributions, the worst recordings with players, "
    "flags, means by group, all recordings. It opens offline and asks no host for anything. Needs "
    "mtqnet\\[analysis].\n\n"
    "Only the worst recordings are inside the page, at most 20 s of each. Of a table of scores they are read from "
    "where it says they are.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet report calls/ -o report.html[/]\n\n"
    "[cyan]mtqnet report scores.csv --by phone --table phones.csv --sort n_mos -o report.html[/]"
)


def report(
    source: Annotated[Path, typer.Argument(help="A folder, or a table of scores.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    by: By = "",
    table: GroupTable = None,
    sort: Annotated[str, typer.Option(help="The score that says which recording is worst.")] = "g_mos",
    worst: Annotated[int, typer.Option(min=0, help="Recordings with a player.")] = 5,
    model: Model = "base",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Write a page about recordings."""
    from mtqnet.cli.evaluation_console import Grouping, Scoring, report_recordings

    report_recordings(source, output, Grouping(by, table), sort, worst, Scoring(model, threads, quiet))


INVARIANCE_HELP = (
    "Say how far scores move where they should stay: the same recordings at other levels, rates, lengths and "
    "encodings, with silence before them, cut in two.\n\n[bold]Example[/]\n\n"
    "[cyan]mtqnet invariance recordings/ -o invariance.csv[/]"
)


def invariance(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Recordings or folders.", show_default=False)
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file to write.")] = None,
    model: Model = "base",
) -> None:
    """Measure how far scores move where they should stay."""
    from mtqnet.cli.models import show_invariance

    show_invariance(paths, output, model)


CARD_HELP = (
    "Write the model card from the records that training left beside the weights and from result files: on "
    "stdout, or into --output.\n\n"
    "--results holds MODEL.rated.csv (tools/rated_sets.py check --csv), MODEL.invariance.csv (mtqnet invariance) "
    "and peers.csv (docs/results/models.csv); sections without a file are left out. Needs mtqnet\\[analysis].\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet card base --results docs/results/card -o MODEL_CARD.md[/]"
)


def card(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help="Shipped models, or paths of .onnx files.")],
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("docs/results/card"),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Markdown file to write.")] = None,
) -> None:
    """Write the model card."""
    from mtqnet.cli.models import write_card

    write_card(models, results, output)
