"""The command line: verbs only, and each verb calls one function.

Whatever a verb needs is imported inside it, so that help comes at once.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtqnet import __version__
from mtqnet.cli import corpus as corpus_verbs
from mtqnet.cli import evaluation as verbs
from mtqnet.cli import finetune as finetune_verb
from mtqnet.cli import labels as label_verbs
from mtqnet.cli import serve as service_verbs
from mtqnet.cli.corpus import Engine, Jobs, Out, RayAddress
from mtqnet.cli.evaluation import Model
from mtqnet.errors import MtqnetError
from mtqnet.integrations.ray.options import MEMORY_GB, SHARD_SIZE


class Verbs(TyperGroup):
    """Turns every error of this package into one line on stderr and its exit code, for all verbs."""

    def invoke(self, ctx: Any) -> Any:
        from mtqnet.cli.console import tell_error

        try:
            return super().invoke(ctx)
        except MtqnetError as error:
            tell_error(str(error))
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has seen enough
                raise
            tell_error(str(error))
            raise typer.Exit(MtqnetError.exit_code) from error


app = typer.Typer(
    cls=Verbs,
    rich_markup_mode="rich",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtqnet {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
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
    """Hear how good a recording of speech is, without a clean reference."""


@app.command(help=SCORE_HELP)
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


TARGETS_HELP = (
    "Say what the six scores mean: range, direction, unit, standard.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet targets[/]"
)


@app.command(help=TARGETS_HELP)
def targets() -> None:
    """Say what the six scores mean."""
    from mtqnet.cli.console import show_targets

    show_targets()


FLAGS_HELP = (
    "Say what the flags of a recording mean: level, threshold, the reason for it, and what to do.\n\n"
    "ok is told and no reason for doubt, caution asks to read the scores with care, refused has none.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet flags[/]\n\n"
    "[cyan]mtqnet flags narrow_band[/]"
)


@app.command(help=FLAGS_HELP)
def flags(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="FLAG", help="Only these.", show_default=False)
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table for a page of docs.")] = False,
) -> None:
    """Say what the flags mean."""
    from mtqnet.cli.console import show_flags

    show_flags(names or [], markdown)


Data = Annotated[Path, typer.Option("--data", help="Folder that the configuration's sources lie in.")]
SharedCorpus = Annotated[
    Path | None, typer.Option(help="A corpus of the same configuration, to share with another run.")
]
PEERS_PYTHON = Path(".venv-peers/bin/python")
"""corpus.peers.PYTHON, written again as that module would load numpy for a help text"""
Peers = Annotated[Path, typer.Option(help="Python that has speechmos and distillmos; `make peers` makes it.")]

TRAIN_HELP = (
    "Train a model by multi-task pseudo-label learning: corpus, MOSA-Net, pseudo labels, MTQ-Net, the speech "
    "encoder with it where that is asked for, ONNX.\n\n"
    "One configuration and its seed give the whole model. Called again on the same folder, it goes on where "
    "it stopped. The result is RUN/model, which [cyan]mtqnet score --model[/] takes. Needs mtqnet\\[train] and "
    "the packages of corpus-tools.txt.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet train configs/base.toml --data ../shared/data --out runs/base[/]"
)


@app.command(help=TRAIN_HELP)
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, such as configs/base.toml.")],
    data: Data = Path(),
    out: Out = Path("runs/model"),
    corpus: SharedCorpus = None,
    jobs: Jobs = 0,
    peers: Peers = PEERS_PYTHON,
) -> None:
    """Run all stages of training."""
    from mtqnet.cli.training_console import train_model
    from mtqnet.training.prepare import Place

    train_model(config, Place(data, out, corpus, jobs), peers)


DISTIL_HELP = (
    "Teach a small, fast network what a large model says: the pseudo-label idea once more.\n\n"
    "The model named in the configuration scores every clip of the corpus; the small network learns these scores, "
    "mixed with the labels of clips that have some. Called again on the same folder, it goes on where it stopped. "
    "The result is RUN/model. Needs mtqnet\\[train] and the packages of corpus-tools.txt.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet distil configs/small.toml --data ../shared/data --out runs/small --corpus runs/base/corpus[/]"
)


@app.command(help=DISTIL_HELP)
def distil(
    config: Annotated[Path, typer.Argument(help="A TOML file, such as configs/small.toml.")],
    data: Data = Path(),
    out: Out = Path("runs/small"),
    corpus: SharedCorpus = None,
    jobs: Jobs = 0,
) -> None:
    """Let a model teach a small network."""
    from mtqnet.cli.training_console import distil_model
    from mtqnet.training.prepare import Place

    distil_model(config, Place(data, out, corpus, jobs))


finetune_verb.add_to(app)

REPRODUCE_HELP = (
    "Run the paper's experiments: tables of arms, each with several seeds, with intervals and paired tests.\n\n"
    "training: MPL against training from scratch and knowledge transfer. loss: Huber against others. models: "
    "MTQ-Net against plain rivals and peers. labels: how many clips need S/N/G labels. levers: what makes pseudo "
    "labels pay. recipe: what each part of the shipped recipe brings. Without --table, all six. "
    "Writes TABLE.csv, TABLE.summary.csv, TABLE.md and pictures into --results. Called again it goes on where it "
    "stopped; arms that two tables share are run once. Needs mtqnet\\[train] and the packages of "
    "corpus-tools.txt; the table models also `make peers`.\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet reproduce --table training --data ../shared/data[/]\n\n"
    "[cyan]mtqnet reproduce --table training --data ../shared/data --results again --check docs/results[/]"
)


@app.command(help=REPRODUCE_HELP)
def reproduce(
    table: Annotated[
        list[str] | None,
        typer.Option(help="training, labels, models, loss, levers or recipe; again for more.", show_default="all"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each arm.")] = 5,
    data: Data = Path(),
    out: Annotated[Path, typer.Option(help="Folder for corpus, features and runs.")] = Path("runs/reproduce"),
    results: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path("docs/results"),
    configs: Annotated[Path, typer.Option(help="Folder of base.toml and the tables.")] = Path("configs/reproduce"),
    peers: Peers = PEERS_PYTHON,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Folder of earlier results: exit with 1 if a figure leaves its interval. Without --table: of all "
            "tables that it has."
        ),
    ] = None,
    jobs: Jobs = 0,
) -> None:
    """Run the paper's experiments."""
    from mtqnet.cli.experiments_console import Options, reproduce

    options = Options(tuple(table or ()), seeds, configs, data, out, results, peers, check, jobs)
    raise typer.Exit(0 if reproduce(options) else 1)


corpus_verbs.add_to(app)
label_verbs.add_to(app)
verbs.add_to(app)
service_verbs.add_to(app)


def main() -> None:
    """Entry point of the command `mtqnet`."""
    app(prog_name="mtqnet")
