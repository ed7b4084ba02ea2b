"""`mtqnet corpus`: options and help; each command calls one function of corpus_console.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Output folder; an interrupted run in it is resumed.")]
Jobs = Annotated[int, typer.Option("--jobs", min=0, help="Number of processes; 0: one per core.")]
Engine = Annotated[str, typer.Option("--engine", help="local: this machine; ray: a Ray cluster.")]
Folders = Annotated[list[Path], typer.Option(help="Folder of audio files; may be repeated.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        help="Select clips by a column of the table ('s_mos<2', split=test), by a processing step (steps=Opus), or "
        "by a parameter of a step ('Opus.kbps<12'); may be repeated."
    ),
]
Corpus = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a corpus.")]


BUILD_HELP = (
    "Build degraded clips with PESQ, STOI, SDI and S-, N-, G-MOS labels (3QUEST-style, anchored on public P.835 "
    "ratings).\n\nEach source is a folder of audio files. An optional index.csv in it, with the columns file and "
    "speaker, names the speakers. Speakers, noise files and rooms are divided between the splits train, validation "
    "and test. The splits unseen and unseen2 use the speakers, noise files and rooms of test, with codecs and noise "
    "suppressors that no other split contains. The same seed gives the same clips. If the command is run again with "
    "the same OUT, an interrupted build is resumed; if --clips is larger, clips are added. Needs mtqnet\\[corpus] "
    "and the tools that `mtqnet corpus kinds` lists; --without builds the corpus without some of "
    "them.\n\n[bold]Examples[/]\n\n"
    "[cyan]mtqnet corpus build --speech LibriSpeech/train-clean-100 --noise DNS/noise --out corpus[/]\n\n"
    "[cyan]mtqnet corpus build --speech speech --noise noise --rooms rooms --clips 10000 --out corpus[/]\n\n"
    "[cyan]mtqnet corpus build --speech speech --noise noise --clips 100000 --out corpus --engine ray[/]\n\n"
    "With --engine ray (mtqnet\\[ray]) a cluster builds the same clips; the sources must have the same paths on all "
    "nodes. RAY_ADDRESS is the address of the cluster; without it, Ray is started on this machine."
)


def build(
    speech: Folders,
    noise: Folders,
    out: Out = Path("corpus"),
    rooms: Annotated[list[Path] | None, typer.Option(help="Folder of room impulse responses.")] = None,
    clips: Annotated[
        int,
        typer.Option(
            min=0,
            help="Total number of clips: 80 % for train, the rest in equal parts for validation, test and unseen.",
        ),
    ] = 1000,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="SPLIT=CLIPS: number of clips of one split, instead of its part of --clips; may be repeated. "
            "unseen2 has no clips without it."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 1,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind of processing to omit, such as Opus, or `missing`: all kinds whose tool is not installed; may "
            "be repeated."
        ),
    ] = None,
    jobs: Jobs = 0,
    engine: Engine = "local",
) -> None:
    """Build a corpus."""
    from mtqnet.cli.corpus_console import build_corpus, split_counts
    from mtqnet.cli.options import need_engine
    from mtqnet.corpus.build import Order
    from mtqnet.corpus.pool import Sources

    order = Order(
        Sources(tuple(speech), tuple(noise), tuple(rooms or [])), split_counts(clips, split or []), seed,
        without=tuple(without or ()),
    )  # fmt: skip
    build_corpus(order, out, jobs, need_engine(engine))


KINDS_HELP = (
    "List all kinds of processing that a clip can go through, with the install command of each missing tool."
    "\n\n[bold]Example[/]\n\n[cyan]mtqnet corpus kinds[/]"
)


def kinds() -> None:
    """List the kinds of processing."""
    from mtqnet.cli.corpus_console import list_kinds

    list_kinds()


DESCRIBE_HELP = (
    "Describe a corpus: distribution of each label and each degradation, correlation between labels. "
    "Ranges of S-, N- or G-MOS with few clips are marked.\n\n[bold]Examples[/]\n\n"
    "[cyan]mtqnet corpus describe corpus[/]\n\n"
    "[cyan]mtqnet corpus describe corpus --picture corpus.png --where split=unseen[/]"
)


def describe(
    corpus: Corpus,
    where: Where = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", "-p", help="Also draw the result: .png or .svg.")
    ] = None,
) -> None:
    """Print and draw what is in a corpus."""
    from mtqnet.cli.corpus_console import describe_corpus

    describe_corpus(corpus, where or [], picture)


LISTEN_HELP = (
    "Write an HTML page with players for a sample of a corpus; it needs no network.\n\n[bold]Example[/]\n\n"
    "[cyan]mtqnet corpus listen corpus --where 's_mos<2' --where steps=Opus --count 20 -o opus.html[/]"
)


def listen(
    corpus: Corpus,
    where: Where = None,
    count: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 20,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("listen.html"),
) -> None:
    """Write a page with players."""
    from mtqnet.cli.corpus_console import listen_to_corpus

    listen_to_corpus(corpus, where or [], count, output)


ENSEMBLE_HELP = (
    "Score the clips of a corpus by DNSMOS and Distill-MOS, and add ensemble labels to its table.\n\n"
    "An ensemble label of S-, N- or G-MOS is a weighted mean of the label of the corpus and the scores of DNSMOS "
    "and Distill-MOS. The table also gets the disagreement of these sources. The two predictors run in a separate "
    "Python environment, which `make peers` creates in a clone of the repository. If the command is run again, only "
    "new clips are scored. `mtqnet train` uses the ensemble labels if the configuration contains "
    "existing_models.ensemble = true.\n\n[bold]Example[/]\n\n"
    "[cyan]mtqnet corpus ensemble corpus --peers .venv-peers/bin/python[/]"
)


def ensemble(
    corpus: Corpus,
    peers: Annotated[
        Path, typer.Option(help="Python interpreter of the environment with DNSMOS and Distill-MOS.")
    ] = Path(".venv-peers/bin/python"),
    train: Annotated[
        int, typer.Option(min=0, help="Score only this number of training clips, the first ones; 0: all.")
    ] = 0,
    jobs: Jobs = 0,
) -> None:
    """Add the label ensemble to a corpus."""
    from mtqnet.cli.corpus_console import add_ensemble

    add_ensemble(corpus, peers, train, jobs)


app = typer.Typer(
    no_args_is_help=True,
    help="Build a corpus of labelled clips from clean speech, noise and room impulse responses, and inspect it.",
)
app.command("build", help=BUILD_HELP)(build)
app.command("kinds", help=KINDS_HELP)(kinds)
app.command("describe", help=DESCRIBE_HELP)(describe)
app.command("listen", help=LISTEN_HELP)(listen)
app.command("ensemble", help=ENSEMBLE_HELP)(ensemble)
