"""The command line: the groups of commands, and errors as one line with an exit code.

Each command has a file of its own. What it needs is imported inside its function, so that --help is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtqnet import __version__
from mtqnet.cli import compare, evaluate, gate, label, plot, report
from mtqnet.cli import corpus as corpus_verbs
from mtqnet.cli import finetune as finetune_verb
from mtqnet.cli import serve as service_verbs
from mtqnet.cli.corpus import Engine, Jobs, Out, RayAddress
from mtqnet.cli.evaluation import Model
from mtqnet.errors import UsageError
from mtqnet.integrations.ray.options import MEMORY_GB, SHARD_SIZE

SCORING, EVALUATION, TRAINING, SERVING = "Scoring", "Evaluation", "Training and labels", "Service"
"""Groups of commands in the help"""

REMOVED = {
    "distil": "`mtqnet train` with a configuration that has a [distill] section",
    "targets": "`mtqnet score --explain`",
    "flags": "`mtqnet score --explain`",
    "reproduce": "`python -m research.experiments` in a clone of the repository",
    "card": "`python -m research.model_card` in a clone of the repository",
    "invariance": "`python -m research.invariance` in a clone of the repository",
    "labels": "`python -m research.labeller` in a clone of the repository",
}
"""Commands of version 0.1 -> what replaces them"""


class Commands(TyperGroup):
    """Commands whose errors are one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from mtqnet.cli.terminal import reported_errors

        with reported_errors():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in REMOVED:
            raise UsageError(f"the command {args[0]!r} was removed: use {REMOVED[args[0]]}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Commands,
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtqnet {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
]
Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH", help="Recordings, or folders to search for them.", show_default=False),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="Write the table here: .csv, .jsonl or .parquet. With ray: a folder or address.",
        show_default=False,
    ),
]
Threads = Annotated[int, typer.Option("--threads", min=0, help="Math threads of a process; 0 is one per core.")]
AsTable = Annotated[bool, typer.Option("--table", help="Print the table in a pipe too, where CSV would be.")]
Windows = Annotated[
    bool, typer.Option("--windows", help="A row for each window of up to 10 s, with start_s and end_s.")
]
ScoreJobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Processes, with one math thread each; 0: as many as there are cores and work for.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Keep what --output holds by the same model and version; score the rest."),
]
Rate = Annotated[
    int | None, typer.Option("--rate", help="Of raw samples on standard input, in Hz.", show_default=False)
]
Encoding = Annotated[str, typer.Option("--encoding", help="Of raw samples: s16le or f32le.")]
Channels = Annotated[int, typer.Option("--channels", min=1, max=64, help="Of raw samples, interleaved.")]
ShardSize = Annotated[int, typer.Option("--shard-size", min=1, help="With ray: recordings of a table.")]
WorkerMemory = Annotated[float, typer.Option("--worker-memory", min=0, help="With ray: GB of a process; 0: any.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


SCORE_HELP = (
    "Score recordings: S-MOS, N-MOS, G-MOS and estimates of PESQ, STOI and SDI.\n\n"
    "On a terminal this prints a table, in a pipe CSV. A recording that cannot be scored gets a reason in "
    "place of scores; the others are scored all the same.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet score call.wav[/]\n\n"
    "[cyan]mtqnet score calls/ more.flac -o scores.csv[/]\n\n"
    "[cyan]mtqnet score calls/ --model my.onnx > scores.csv[/]\n\n"
    "[cyan]mtqnet score calls/ -o scores.csv --resume[/]\n\n"
    "[cyan]mtqnet score meeting.flac --windows[/]\n\n"
    "[cyan]arecord -t raw -f S16_LE -r 16000 | mtqnet score - --rate 16000[/]\n\n"
    "A path of - is raw PCM on standard input: a row each second, for the last 10 s.\n\n"
    "[cyan]mtqnet score s3://bucket/calls list.parquet shards/ --engine ray -o s3://bucket/scores[/]\n\n"
    "With --engine ray (mtqnet\\[ray]) a PATH may also be an address, a manifest (.csv or .parquet with a column "
    "file) or a .tar shard; --output is a folder of Parquet tables. Called again, it goes on.\n\n"
    "[bold]Exit codes[/]\n\n"
    "0 all recordings were scored, 1 some were not (the column error gives each reason), 2 wrong use."
)
"""Paragraphs in one piece: where the help is wrapped depends on the terminal."""


@app.callback()
def options(version: Version = False) -> None:
    """Predict the quality of recorded speech from a single recording, without a clean reference."""


@app.command(help=SCORE_HELP, rich_help_panel=SCORING)
def score(
    paths: Paths,
    output: Output = None,
    model: Model = "base",
    threads: Threads = 0,
    quiet: Quiet = False,
    table: AsTable = False,
    windows: Windows = False,
    jobs: ScoreJobs = 0,
    resume: Resume = False,
    rate: Rate = None,
    encoding: Encoding = "s16le",
    channels: Channels = 1,
    engine: Engine = "local",
    address: RayAddress = None,
    shard_size: ShardSize = SHARD_SIZE,
    worker_memory: WorkerMemory = MEMORY_GB,
) -> None:
    """Score files and folders into a table; the exit code says whether all could be scored."""
    from mtqnet.cli.console import ScoreOptions, need_engine, score_paths

    if need_engine(engine) == "ray":
        from mtqnet.cli.ray_console import score_sources
        from mtqnet.integrations.ray.options import ScaleOptions

        scale = ScaleOptions(model, address, jobs, threads or 1, shard_size, windows, resume, worker_memory)
        raise typer.Exit(score_sources(paths, output, scale, quiet))
    files, where = [Path(path) for path in paths], None if output is None else Path(output)
    if Path("-") in files:
        from mtqnet.cli.live import Pcm, score_stdin

        options = ScoreOptions(where, model, threads, 1, quiet, table, True, resume)
        raise typer.Exit(score_stdin(Pcm(rate, encoding, channels), options, files))
    raise typer.Exit(score_paths(files, ScoreOptions(where, model, threads, jobs, quiet, table, windows, resume)))


Data = Annotated[Path, typer.Option("--data", help="Folder of the sources that the configuration names.")]
SharedCorpus = Annotated[Path | None, typer.Option(help="Existing corpus of the same configuration.")]
PEERS_PYTHON = Path(".venv-peers/bin/python")
"""The same as corpus.peers.PYTHON, whose module would load numpy for a help text"""
Peers = Annotated[Path, typer.Option(help="Python interpreter with speechmos and distillmos; see `make peers`.")]

TRAIN_HELP = (
    "Train a model by multi-task pseudo-label learning (MPL): corpus, MOSA-Net (the teacher of the pseudo labels), "
    "MTQ-Net, optionally the speech encoder, and ONNX export.\n\n"
    "The model is determined by a configuration and its seed. A configuration with a \\[distill] section trains a "
    "small network on the scores of an existing model instead. An interrupted run is resumed when the command is "
    "repeated. The result is OUT/model, for [cyan]mtqnet score --model[/]. Needs mtqnet\\[train] and the packages of "
    "corpus-tools.txt.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet train configs/base.toml --data ../shared/data --out runs/base[/]\n\n"
    "[cyan]mtqnet train configs/small.toml --data ../shared/data --out runs/small --corpus runs/base/corpus[/]"
)


@app.command(help=TRAIN_HELP, rich_help_panel=TRAINING)
def train(
    config: Annotated[Path, typer.Argument(help="TOML file, such as configs/base.toml.")],
    data: Data = Path(),
    out: Out = Path("runs/model"),
    corpus: SharedCorpus = None,
    jobs: Jobs = 0,
    peers: Peers = PEERS_PYTHON,
) -> None:
    """Run all stages of training, or of distillation."""
    from mtqnet.cli.training_console import distil_model, train_model
    from mtqnet.training.data import RunPaths

    paths = RunPaths(data, out, corpus, jobs)
    if _is_distillation(config):
        distil_model(config, paths)
    else:
        train_model(config, paths, peers)


def _is_distillation(config: Path) -> bool:
    """Whether a configuration has a section for distillation; an unreadable file is reported by its reader."""
    import tomllib

    try:
        sections = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return bool({"distil", "distill"} & set(sections))


finetune_verb.add_to(app)

corpus_verbs.add_to(app)
app.command("label", help=label.HELP, rich_help_panel=TRAINING)(label.label)
app.command("plot", help=plot.HELP, rich_help_panel=SCORING)(plot.plot)
app.command("report", help=report.HELP, rich_help_panel=SCORING)(report.report)
app.command("evaluate", help=evaluate.HELP, rich_help_panel=EVALUATION)(evaluate.evaluate)
app.command("compare", help=compare.HELP, rich_help_panel=EVALUATION)(compare.compare)
app.command("gate", help=gate.HELP, rich_help_panel=EVALUATION)(gate.gate)
service_verbs.add_to(app)


def main() -> None:
    """Entry point of the command `mtqnet`."""
    app(prog_name="mtqnet")
