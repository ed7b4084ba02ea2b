"""Fit the labeller's curves to ratings, and compare its measures with others.

    python -m research.labeller fit --rated p835_csp835_refconditions --speech LibriSpeech/train-clean-100
    python -m research.labeller compare --rated ... --codecs ... --triples ... --speech ... -o docs/labeller.md

Needs mtqnet[corpus]; `compare` also needs visqol-python[lattice].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mtqnet.audio import reading, resampling
from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.cli.terminal import reported_errors, stages
from mtqnet.errors import CorpusError
from mtqnet.labels.curves import CURVES
from research.labeller import fit, tried
from research.labeller.rated import Agreement, read_rated

AGREEMENT = ("error, MOS", "LCC", "error per talker", "LCC per clip")
"""Fields of labels.rated.Agreement, for people"""
CODECS = ("codecs, rank per condition", "codecs, rank per clip")
TRIED_HEAD = """# What the labeller listens to, and what else was tried

Written by `python -m research.labeller compare` (`make measures`); edit the code, not this page.

S-, N- and G-MOS of the labeller are 3QUEST-style, anchored on public P.835 ratings; they are not scores of the
licensed 3QUEST instrument.

Against the votes of CSP835, 78 clips of three talkers: each talker by curves fitted to the other two. *Error* and
*LCC* are over the 13 conditions, of the mean of the three talkers; *error per talker* is the same for each talker
by himself, on average. Against a MUSHRA test of neural codecs, 64 clips in 8 conditions: Spearman's rank
correlation of G-MOS, told from clean and coded speech alone.
"""
TRIED_TAIL = """A single talker's condition has about 14 votes. The other two talkers' own votes for the same
condition miss his by 0.27 (S), 0.35 (N) and 0.29 MOS (G): the errors per talker above are at what votes allow.

PESQ ranks neural codecs backwards: it compares fine structure, which a vocoder makes anew. ViSQOL is hardly better
there, and much too hard on modulated noise. The distance of slow spectra (0.25 s by five mel bands, at most 6 dB a
band) ranks the codecs as listeners do but hardly hears lost packets. So both count where the waveform is kept, and
the slow spectrum alone where it is not. On 49 kinds of damage without noise (twelve talkers; coders, losses,
filters, clipping, rooms, MNRU), Distill-MOS, which was trained on listeners, ranks the kinds as PESQ does with
0.90, as the slow spectrum alone with 0.75, and as the chosen pair with 0.89.

The only noise of the ratings is white, and all measures of its level agree equally well with them; A-weighting is kept
because inaudible rumble must not count. What the speech masks, and how much the level in the speech pauses counts, was
chosen on noise suppressors: [label forms](results/label_forms.md) has these tables.

## The label ensemble

Training uses an ensemble of the labeller, DNSMOS (SIG, BAK, OVRL, P.808) and Distill-MOS, with a line and a weight for
each source, label and kind of processing. [Label forms](results/label_forms.md) has the rule and all weights. In short:
where ratings exist, weights follow the agreement with them, and then go to the labeller until the ensemble is as good
as it; after suppression they follow the agreement with all predictors of the same quality; otherwise the agreement with
the sources of other families. Clips on which the sources disagree count less in the loss.

The alternatives that were tried are in [label ensemble](results/label_ensemble.md).
"""


def fit_curves(rated: Path, speech: Path, output: Path | None) -> None:
    """Fit, write (into the package unless `output` is given) and print the errors. Raises CorpusError."""
    result = fit.fit(rated, clean_files(speech))
    path = output or CURVES
    fit.write(result, path, f"python -m research.labeller fit --rated {rated.name} --speech {speech.name}")
    console = Console()
    console.print(agreement_table("fitted to all talkers", result.fitted))
    console.print(agreement_table("each talker by curves fitted to the others", result.left_out))
    console.print(f"{result.clips} rated clips -> {path}", highlight=False)


def clean_files(speech: Path) -> list[Path]:
    """At most fit.MAX_TALKERS recordings, spread over the folder. Raises CorpusError where there is no folder."""
    if not speech.is_dir():
        raise CorpusError(f"{speech} is not a folder of clean speech")
    files = sorted(path for path in speech.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return files[:: max(1, len(files) // fit.MAX_TALKERS)][: fit.MAX_TALKERS]


def agreement_table(title: str, found: dict[str, Agreement]) -> Table:
    """S, N and G against ratings, for a terminal."""
    table = Table("score", "error, MOS", "LCC", "error per talker", "LCC per clip", title=title)
    for key, one in found.items():
        table.add_row(f"{key.upper()}-MOS", *(f"{value:.3f}" for value in asdict(one).values()))
    return table


def compare_measures(rated: Path, codecs: Path, triples: Path, speech: Path, output: Path) -> None:
    """Hold all measures that were tried against ratings, and write them down. Raises CorpusError."""
    talkers = [reading.read(path).samples[: 6 * resampling.SAMPLE_RATE] for path in clean_files(speech)]
    with stages(Console(stderr=True)) as stage:
        rows = tried.compare(
            read_rated(rated, seed=0),
            tried.rate_codecs(codecs),
            talkers,
            lambda done, total: stage("measures", done, total),
        )
    output.write_text(tried_page(rows, tried.rate_triples(triples)), encoding="utf-8")
    print(output)


def tried_page(rows: Sequence[tried.Row], triples: tried.Triples) -> str:
    """docs/labeller.md."""
    lines = [TRIED_HEAD, "| speech component | " + " | ".join((*AGREEMENT, *CODECS)) + " |", "|---" * 7 + "|"]
    for row in rows:
        if row.codecs is not None:
            lines.append(_line(row.name, (*asdict(row.ratings).values(), *row.codecs)))
    lines += ["", "| background | " + " | ".join(AGREEMENT) + " |", "|---" * 5 + "|"]
    lines += [_line(row.name, tuple(asdict(row.ratings).values())) for row in rows if row.codecs is None]
    return "\n".join((*lines, "", *order_table(triples), "", TRIED_TAIL))


def order_table(triples: tried.Triples) -> list[str]:
    """Mean labels of clean, enhanced and noisy speech, and the sentences in which they have this order."""
    lines = [f"| {len(triples.clean)} sentences, three signals | S-MOS | N-MOS | G-MOS |", "|---" * 4 + "|"]
    parts = {"clean": triples.clean, "enhanced (CMGAN)": triples.enhanced, "noisy": triples.noisy}
    lines += [_line(name, values.mean(axis=0).tolist()) for name, values in parts.items()]
    counts = " | ".join(map(str, triples.ordered()))
    return [*lines, f"| sentences with clean > enhanced > noisy | {counts} |"]


ORDER_HEAD = """# Labels of clean, enhanced and noisy speech

Written by `python -m research.labeller order` (`make voicebank`). Sentences of VoiceBank-DEMAND, enhanced by CMGAN.
Labels of the three-signal labeller: 3QUEST-style, anchored on public P.835 ratings. The expected order of G and N is
clean, enhanced, noisy. S of the noisy recordings is higher than that of the enhanced ones: noise lowers SIG little, and
an enhancer damages the speech.
"""


def write_order(triples: Path, output: Path) -> None:
    """Write docs/results/voicebank.md. Raises CorpusError without triples."""
    output.write_text("\n".join((ORDER_HEAD, *order_table(tried.rate_triples(triples)), "")), encoding="utf-8")
    print(output)


def _line(name: str, values: Sequence[float]) -> str:
    return "| " + " | ".join((name, *(f"{value:.3f}" for value in values))) + " |"


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Rated = Annotated[Path, typer.Option(help="Folder of rated P.835 reference conditions with labels.csv.")]
Speech = Annotated[Path, typer.Option(help="Folder of clean speech.")]


@app.command("fit")
def fit_command(
    rated: Rated,
    speech: Speech,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default="the package's own")
    ] = None,
) -> None:
    """Fit the labeller's curves to rated reference conditions; print the remaining errors."""
    with reported_errors():
        fit_curves(rated, speech, output)


@app.command("compare")
def compare_command(
    rated: Rated,
    codecs: Annotated[Path, typer.Option(help="Folder of coded speech with MUSHRA ratings.")],
    triples: Annotated[Path, typer.Option(help="Folder with clean/, noisy/ and one folder of enhanced speech.")],
    speech: Speech,
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = Path("labeller.md"),
) -> None:
    """Compare the labeller's measures with others, against ratings; write a Markdown page."""
    with reported_errors():
        compare_measures(rated, codecs, triples, speech, output)


@app.command("order")
def order_command(
    triples: Annotated[Path, typer.Option(help="Folder with clean/, noisy/ and one folder of enhanced speech.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = Path("voicebank.md"),
) -> None:
    """Compare the labels of clean, enhanced and noisy speech; write a Markdown page."""
    with reported_errors():
        write_order(triples, output)


if __name__ == "__main__":
    app(prog_name="python -m research.labeller")
