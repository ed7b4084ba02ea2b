"""The verbs of this room for the command line: options and help; each calls one function of console.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Make these verbs part of the command line: `mtqnet label`, `mtqnet labels ...`."""
    app.command("label", help=LABEL_HELP)(label)
    labels = typer.Typer(no_args_is_help=True, help="The labeller of S-, N- and G-MOS.")
    app.add_typer(labels, name="labels")
    labels.command("fit", help=FIT_HELP)(fit)
    labels.command("compare", help=COMPARE_HELP)(compare)


LABEL_HELP = (
    "Label a recording whose clean speech is at hand: S-, N- and G-MOS from clean, unprocessed and processed "
    "signals, with equivalent Q and SNR as their reasons; PESQ, STOI, SDI, Csig, Cbak and Covl beside them.\n\n"
    "3QUEST-style, anchored on public P.835 ratings; not the licensed instrument. Delay, up to 0.5 s, and "
    "level are found. Without --unprocessed it says what it cannot tell. Needs mtqnet\\[corpus].\n\n"
    "[bold]Examples[/]\n\n"
    "[cyan]mtqnet label --clean c.wav --unprocessed u.wav --processed p.wav[/]\n\n"
    "[cyan]mtqnet label --clean c.wav --processed coded.wav --json[/]"
)


def label(
    clean: Annotated[Path, typer.Option("--clean", "-c", help="The clean speech.")],
    processed: Annotated[Path, typer.Option("--processed", "-p", help="What the device or coder gave.")],
    unprocessed: Annotated[
        Path | None, typer.Option("--unprocessed", "-u", help="What it was given: speech and noise.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Label one set of files."""
    from mtqnet.cli.labels_console import label_files

    label_files(clean, unprocessed, processed, as_json)


FIT_HELP = (
    "Fit the labeller's curves to rated P.835 reference conditions.\n\nThe folder of ratings needs a labels.csv "
    "with condition, speaker, clean_ref, mnru_q_db, snr_db, sig_mos, bak_mos and ovrl_mos. "
    "Needs mtqnet\\[corpus].\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet labels fit --rated p835_csp835_refconditions --speech LibriSpeech/train-clean-100[/]"
)


def fit(
    rated: Annotated[Path, typer.Option(help="Folder of rated reference conditions.")],
    speech: Annotated[Path, typer.Option(help="Clean speech to measure PESQ against MNRU Q on.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write here instead of into this package."),
    ] = None,
) -> None:
    """Fit the curves and say how well they pass through the ratings."""
    from mtqnet.cli.labels_console import fit_curves

    fit_curves(rated, speech, output)


COMPARE_HELP = (
    "Hold every measure that was tried for the labeller against ratings, and write the table as Markdown.\n\n"
    "Needs mtqnet\\[corpus] and visqol-python\\[lattice].\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet labels compare --rated p835_csp835_refconditions --codecs mushra_neural_codec "
    "--triples pairs_voicebank_demand_cmgan --speech LibriSpeech/train-clean-100 -o docs/labeller.md[/]"
)


def compare(
    rated: Annotated[Path, typer.Option(help="Folder of rated reference conditions.")],
    codecs: Annotated[Path, typer.Option(help="Folder of coded speech rated by MUSHRA.")],
    triples: Annotated[Path, typer.Option(help="Folder with clean/, noisy/ and one of enhanced recordings.")],
    speech: Annotated[Path, typer.Option(help="Clean speech to measure each measure against MNRU Q on.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = Path("labeller.md"),
) -> None:
    """Write the table of measures that were tried."""
    from mtqnet.cli.labels_console import compare_measures

    compare_measures(rated, codecs, triples, speech, output)
