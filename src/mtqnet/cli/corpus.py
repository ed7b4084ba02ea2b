"""`mtqnet corpus` and `label`: labelled clips from clean speech, noise and rooms; labels of a recording."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtqnet.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.corpus.sources import Split
    from mtqnet.labels.three_signal import LabelledSet

PIPE_WIDTH = 100
"""Characters of a line of a table that is written into a file or a pipe"""
PAGE_CLIPS, PAGE_SEED = 20, 1
"""Clips of a page with players, and the seed of their selection"""
DEFAULT_CLIPS, TRAIN_SHARE = 1000, 0.8
"""Total number of clips, and the share of the training split"""

Out = Annotated[Path, typer.Option("--out", help="Output folder; an interrupted run in it is resumed.")]
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
    "the same OUT, an interrupted build is resumed; if --clips is larger, clips are added. Needs "
    "mtqnet\\[corpus] and the tools that `mtqnet corpus kinds` lists; --without builds the corpus without some of them."
    "\n\n[bold]Examples[/]\n\n"
    "[cyan]mtqnet corpus build --speech LibriSpeech/train-clean-100 --noise DNS/noise --out corpus[/]\n\n"
    "[cyan]mtqnet corpus build --speech speech --noise noise --rooms rooms --clips 10000 --out corpus[/]"
)


def build(
    speech: Folders,
    noise: Folders,
    out: Out = Path("corpus"),
    rooms: Annotated[list[Path] | None, typer.Option(help="Folder of room impulse responses.")] = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N | SPLIT=N",
            help="Total number of clips: 80 % for train, the rest in equal parts for validation, test and unseen. Or "
            "the number of clips of one split, such as unseen2=250; "
            "the split unseen2 is empty unless its number is given. May be repeated.",
            show_default="1000",
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
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Number of processes; 0: one per core.")] = 0,
) -> None:
    """Build a corpus."""
    from mtqnet.cli.terminal import error_console, stages
    from mtqnet.corpus import build as corpora
    from mtqnet.corpus.sources import Sources
    from mtqnet.corpus.table import TABLE, read_rows

    counts = split_counts(clips or [])
    if (out / TABLE).exists():
        before = Counter(row["split"] for row in read_rows(out / TABLE))
        if fewer := [split for split, count in counts.items() if count < before[split]]:
            raise UsageError(
                f"{out} has {before[fewer[0]]} clips in the split {fewer[0]}, --clips asks for {counts[fewer[0]]}: "
                "give at least as many clips as there are, or another folder with --out"
            )
    order = corpora.Order(
        Sources(tuple(speech), tuple(noise), tuple(rooms or [])), counts, seed, without=tuple(without or ())
    )
    console = error_console()
    begun = time.monotonic()
    with stages(console) as stage:
        table = corpora.build(order, out, jobs=jobs, progress=lambda done, total: stage("corpus", done, total))
    minutes = (time.monotonic() - begun) / 60
    console.print(f"{sum(order.clips.values())} clips, this call {minutes:.1f} minutes", highlight=False)
    print(table)


def split_counts(texts: Sequence[str]) -> dict[Split, int]:
    """Return the clips of each split from texts such as "1000" or "train=800". Raises UsageError.

    Splits without a number of their own share the total, 1000 by default; unseen2 has none.
    """
    from mtqnet.corpus.sources import SPLITS

    total, counts = DEFAULT_CLIPS, dict[str, int]()
    for text in texts:
        name, _, number = text.rpartition("=")
        if (name and name not in SPLITS) or not number.isdecimal():
            raise UsageError(
                f"--clips {text}: give a number, or SPLIT=NUMBER with one of {', '.join(SPLITS)}, such as train=800"
            )
        if name:
            counts[name] = int(number)
        else:
            total = int(number)
    others = [split for split in SPLITS if split not in ("train", "unseen2")]
    rest = (total - round(TRAIN_SHARE * total)) // len(others)
    usual: dict[Split, int] = dict.fromkeys(SPLITS, rest)
    usual["train"], usual["unseen2"] = total - rest * len(others), 0
    found = {split: counts.get(split, number) for split, number in usual.items()}
    if not any(found.values()):
        raise UsageError("--clips 0: a corpus has at least one clip; give a number such as --clips 1000")
    return found


KINDS_HELP = (
    "List all kinds of processing that a clip can go through, with the install command of each missing tool."
    "\n\n[bold]Example[/]\n\n[cyan]mtqnet corpus kinds[/]"
)


def kinds() -> None:
    """List the kinds of processing."""
    from rich.console import Console
    from rich.table import Table

    from mtqnet.corpus import describe

    found = describe.kinds()
    table = Table("kind", "group", "held out in", "missing", box=None, pad_edge=False)
    for kind in found:
        lacking = "; ".join(f"{need.name}: {need.install}" for need in kind.missing)
        table.add_row(kind.name, kind.group, kind.held_out, lacking)
    console = Console()
    console.print(table)
    codecs, suppressors = (sum(kind.group == group for kind in found) for group in ("codec", "suppressor"))
    installed = sum(not kind.missing for kind in found)
    console.print(
        f"{len(found)} kinds of processing, {codecs} codecs and {suppressors} suppressors among them; "
        f"{installed} can be applied here",
        highlight=False,
    )


DESCRIBE_HELP = (
    "Describe a corpus: distribution of each label and each degradation, correlation between labels. "
    "Ranges of S-, N- or G-MOS with few clips are marked.\n\n[bold]Examples[/]\n\n"
    "[cyan]mtqnet corpus describe corpus[/]\n\n"
    "[cyan]mtqnet corpus describe corpus --where split=unseen[/]"
)


def describe(corpus: Corpus, where: Where = None) -> None:
    """Print what is in a corpus."""
    from mtqnet.cli.terminal import output_console
    from mtqnet.corpus.describe import describe as described
    from mtqnet.corpus.describe import read_recordings, summary, tables
    from mtqnet.corpus.table import read_rows, select

    rows = select(read_rows(corpus), where or [])
    console = output_console(PIPE_WIDTH)
    for table in tables(described(rows, read_recordings(corpus))):
        console.print(table)
    console.print(summary(rows), highlight=False)


LISTEN_HELP = (
    "Write an HTML page with players for 20 randomly selected clips of a corpus; it needs no network.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet corpus listen corpus --where 's_mos<2' --where steps=Opus -o opus.html[/]"
)


def listen(
    corpus: Corpus,
    where: Where = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("listen.html"),
) -> None:
    """Write a page with players."""
    from mtqnet.corpus.listen import page
    from mtqnet.corpus.table import read_rows, select

    rows = select(read_rows(corpus), where or [])
    page(corpus, rows, output, PAGE_CLIPS, PAGE_SEED, " and ".join(where or ()) or "a sample of all clips")
    print(output)


ENSEMBLE_HELP = (
    "Score the clips of a corpus by DNSMOS and Distill-MOS, and add ensemble labels to its table.\n\n"
    "An ensemble label of S-, N- or G-MOS is a weighted mean of the label of the corpus and the scores of DNSMOS "
    "and Distill-MOS. The table also gets the disagreement of these sources: their standard deviation "
    "about the ensemble label. The two predictors run in a separate "
    "Python environment, which `make peers` creates in a clone of the repository; MTQNET_PEERS is the path of another "
    "Python interpreter that has them. If the command is run again, only "
    "new clips are scored. `mtqnet train` uses the ensemble labels if the configuration contains "
    "existing_models.ensemble = true.\n\n[bold]Example[/]\n\n"
    "[cyan]mtqnet corpus ensemble corpus[/]"
)


def ensemble(corpus: Corpus) -> None:
    """Add the label ensemble to a corpus."""
    from mtqnet.cli.terminal import error_console, stages
    from mtqnet.corpus.ensemble import PYTHON, add_ensemble

    with stages(error_console()) as stage:
        python = Path(os.environ.get("MTQNET_PEERS", PYTHON))
        table = add_ensemble(corpus, python, progress=lambda done, total: stage("predictors", done, total))
    print(table)


app = typer.Typer(
    no_args_is_help=True,
    help="Build a corpus of labelled clips from clean speech, noise and room impulse responses, and inspect it.",
)
app.command("build", help=BUILD_HELP)(build)
app.command("kinds", help=KINDS_HELP)(kinds)
app.command("describe", help=DESCRIBE_HELP)(describe)
app.command("listen", help=LISTEN_HELP)(listen)
app.command("ensemble", help=ENSEMBLE_HELP)(ensemble)


LABEL_HELP = (
    "Label a recording whose clean speech is available: S-, N- and G-MOS from the clean, unprocessed and processed "
    "signals; PESQ, STOI, SDI, and the composite measures Csig, Cbak and Covl.\n\n"
    "S-, N- and G-MOS are 3QUEST-style, anchored on public P.835 ratings; this is not the licensed instrument. The "
    "output also contains two intermediate values: the equivalent Q (the MNRU setting of ITU-T P.810 with the same "
    "speech distortion, in dB) and the SNR. A delay of up to 0.5 s and differences in level are compensated. "
    "Without --unprocessed, noise and distortion cannot be separated; the output then names the scores that are "
    "uncertain. Needs mtqnet\\[corpus].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet label --clean c.wav --unprocessed u.wav --processed p.wav[/]\n\n"
    "[cyan]mtqnet label --clean c.wav --processed coded.wav --json[/]"
)
LABEL_NOTE = "S-, N- and G-MOS are 3QUEST-style, anchored on public P.835 ratings; they are not 3QUEST scores."


def label(
    clean: Annotated[Path, typer.Option("--clean", "-c", help="Recording of the clean speech.")],
    processed: Annotated[Path, typer.Option("--processed", "-p", help="Output of the device or codec.")],
    unprocessed: Annotated[
        Path | None, typer.Option("--unprocessed", "-u", help="Input of the device: speech and noise.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Label one recording from its files."""
    import json

    from mtqnet.cli.terminal import output_console, tell
    from mtqnet.labels import three_signal

    found = three_signal.label_files(clean, unprocessed, processed)
    if as_json:
        print(json.dumps(found.record(), indent=1))
        return
    for caution in found.cautions:
        tell(f"caution: {caution}", style="yellow")
    console = output_console()
    console.print(label_table(found))
    console.print(LABEL_NOTE, highlight=False, soft_wrap=True, markup=False)


def label_table(found: LabelledSet) -> Table:
    """Labels with their reasons, and measures of the literature."""
    from rich.table import Table

    table = Table("measure", "value", "meaning", box=None, pad_edge=False)
    quest, measures, composite = found.quest, found.objective, found.composite
    speech = f"speech: equivalent to modulated noise at Q {quest.equivalent_q_db:.1f} dB"
    background = f"background: {quest.equivalent_snr_db:.1f} dB below the speech"
    table.add_row("S-MOS", f"{quest.s_mos:.2f}", speech)
    table.add_row("N-MOS", f"{quest.n_mos:.2f}", background)
    table.add_row("G-MOS", f"{quest.g_mos:.2f}", "overall quality")
    table.add_row("PESQ", f"{measures.pesq:.2f}", "wideband, processed compared with clean")
    table.add_row("STOI", f"{measures.stoi:.3f}", "intelligibility, 0 to 1")
    table.add_row("SDI", f"{measures.sdi:.4f}", "speech distortion index, lower is better")
    table.add_row("Csig", f"{composite.csig:.2f}", "composite measures of Hu and Loizou, with wideband PESQ:")
    table.add_row("Cbak", f"{composite.cbak:.2f}", "for comparison with the literature; any noise lowers them")
    table.add_row("Covl", f"{composite.covl:.2f}", "")
    return table
