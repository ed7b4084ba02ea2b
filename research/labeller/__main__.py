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
from mtqnet.labels.speech import CURVES
from research.labeller import fit, tried
from research.labeller.rated import Agreement, read_rated

AGREEMENT = ("error, MOS", "LCC", "error per speaker", "LCC per clip")
"""Headings for the fields of rated.Agreement"""
CODECS = ("codecs, rank per condition", "codecs, rank per clip")
TRIED_HEAD = """# Labels from three signals: the labeller, and the measures that were compared for it

Written by `python -m research.labeller compare` (`make measures`); edit the code, not this page.

The labeller computes S-, N- and G-MOS of a processed recording from three signals: the clean speech, the unprocessed
mixture of speech and noise, and the processed recording. Its scores are the main part of the training labels
([below](#the-label-ensemble)). To label your own recordings:

```text
mtqnet label --clean clean.wav --unprocessed noisy.wav --processed processed.wav
```

The [command reference](cli.md#mtqnet-label) describes the options; the extra `corpus` is needed.

A measure of the speech in the processed recording is converted to an equivalent Q: the Q of MNRU (ITU-T P.810,
modulated noise) at which clean speech gets the same value of the measure. A measure of the background noise is
converted to an equivalent SNR. Curves that were fitted to public listeners' ratings by P.835 map Q and SNR to S-MOS
and N-MOS, and these to G-MOS. This is what "3QUEST-style, anchored on public P.835 ratings" means; the labels are on
the scales of 3QUEST, but they are not scores of the licensed 3QUEST instrument.

This page compares measures for the speech and for the background. *Chosen* marks those that the labeller uses.
*ViSQOL, lattice* is ViSQOL in its speech mode, in which a lattice network maps similarity to MOS. *Loudness in the
pauses (Stevens, 0.3)* compares the loudness of the recording during speech with that in pauses. Loudness is the sum of
the powers of the mel bands, each raised to 0.3 (Stevens' power law).

Two sets of ratings were used. CSP835 has P.835 ratings of 78 clips: three speakers in 13 conditions. The labels of
each speaker were computed with curves that were fitted to the other two speakers. *Error, MOS* (RMSE) and *LCC*
(linear correlation) compare the means of labels and ratings over all speakers, in 13 conditions. *Error per speaker*
compares the condition means of a single speaker, averaged over the three speakers. The second set is a MUSHRA test of
neural codecs with 64 clips in 8 conditions. Its columns *codecs* contain Spearman's rank correlation of the ratings
with G-MOS, computed from clean and coded speech without an unprocessed mixture.
"""
TRIED_TAIL = """\
The third table contains mean labels of VoiceBank-DEMAND: clean speech, noisy speech, and noisy speech after the
neural enhancer CMGAN. S-MOS of the noisy speech is higher than that of the enhanced speech, because noise does not
distort the speech and the enhancer does.

A condition of one speaker has about 14 votes. Between the speakers, the mean votes for the same condition differ by
0.27 (S), 0.35 (N) and 0.29 MOS (G). Therefore errors per speaker of about 0.3 MOS, as in the tables, cannot become
much smaller.

**Speech component.** PESQ ranks neural codecs in the wrong order, because it compares the fine structure of the
signal, which a vocoder generates. ViSQOL ranks them little better and underestimates speech with modulated noise. The
*envelope* is the distance between spectra with a low resolution (frames of 0.25 s, five mel bands, at most 6 dB per
band). It ranks the codecs like the listeners, but is insensitive to lost packets. The labeller therefore uses PESQ
and the envelope if the waveform is preserved (high coherence with the clean speech), and the envelope alone
otherwise. In a third test, on 49 kinds of degradation without noise (twelve speakers; codecs, packet loss, filters,
clipping, reverberation, MNRU), the rank correlation with Distill-MOS, a predictor that was trained on human ratings,
is 0.90 for PESQ, 0.75 for the envelope and 0.89 for the chosen combination.

**Background.** The ratings contain white noise only, and all measures of its level agree equally well with them.
A-weighting was chosen because inaudible low frequencies should not lower N-MOS. The rules for masking by the speech
and for the level in speech pauses were chosen by a comparison with DNSMOS after noise suppressors ([label
forms](results/label_forms.md)).

## The label ensemble

The labels in training are weighted means of the scores of several sources: the labeller, DNSMOS (SIG, BAK, OVRL,
P.808) and Distill-MOS. For each label and kind of processing, each source is first mapped linearly to the scale of
the label and then gets a weight. [Label forms](results/label_forms.md) contains the exact rule and all weights. In
short:

- For kinds of processing with public ratings of listeners, a source has a larger weight if it agrees better with
  them. If the ensemble is then less accurate than the labeller alone, the weight of the labeller is increased until
  it is not.
- After noise suppression, a source has a larger weight if it agrees better with all other sources of the same score.
- For all other processing, the sources are divided into three families: the labeller, the scores of DNSMOS, and
  Distill-MOS. A source has a larger weight if it agrees better with the sources of the other families.

Clips on which the sources disagree have a lower weight in the loss. [Label ensemble](results/label_ensemble.md)
contains the alternatives that were compared.
"""


def fit_curves(rated: Path, speech: Path, output: Path | None) -> None:
    """Fit, write (into the package unless `output` is given) and print the errors. Raises CorpusError."""
    result = fit.fit(rated, clean_files(speech))
    path = output or CURVES
    fit.write(result, path, f"python -m research.labeller fit --rated {rated.name} --speech {speech.name}")
    console = Console()
    console.print(agreement_table("fitted to all speakers", result.fitted))
    console.print(agreement_table("each speaker by curves that were fitted to the others", result.left_out))
    console.print(f"{result.clips} rated clips -> {path}", highlight=False)


def clean_files(speech: Path) -> list[Path]:
    """At most fit.MAX_TALKERS recordings, spread over the folder. Raises CorpusError where there is no folder."""
    if not speech.is_dir():
        raise CorpusError(f"{speech} is not a folder of clean speech")
    files = sorted(path for path in speech.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return files[:: max(1, len(files) // fit.MAX_TALKERS)][: fit.MAX_TALKERS]


def agreement_table(title: str, found: dict[str, Agreement]) -> Table:
    """S, N and G against ratings, for a terminal."""
    table = Table("score", *AGREEMENT, title=title)
    for key, one in found.items():
        table.add_row(f"{key.upper()}-MOS", *(f"{value:.3f}" for value in asdict(one).values()))
    return table


def compare_measures(rated: Path, codecs: Path, triples: Path, speech: Path, output: Path) -> None:
    """Compare all measures with ratings, and write the page. Raises CorpusError."""
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
