"""What a person sees of `mtqnet label` and `mtqnet labels`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtqnet.audio import reading, resampling
from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.cli.bars import stages
from mtqnet.errors import CorpusError
from mtqnet.labels import fit, label_set, tried
from mtqnet.labels.curves import CURVES
from mtqnet.labels.rated import Agreement, read_rated

LABELS_ARE = "S-, N- and G-MOS are 3QUEST-style, anchored on public P.835 ratings; they are not 3QUEST scores."
AGREEMENT = ("error, MOS", "LCC", "error per talker", "LCC per clip")
"""Fields of labels.rated.Agreement, for people"""
CODECS = ("codecs, rank per condition", "codecs, rank per clip")
TRIED_HEAD = """# What the labeller listens to, and what else was tried

Written by `mtqnet labels compare` (`make measures`); edit the code, not this page.

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

The only noise of the ratings is white, and all measures of its level do alike; A-weighting is kept because rumble
that nobody hears must not count. Noise that the speech masks is left out although these ratings do not ask for it:
a neural noise reducer leaves its rests under the words, where a level over all time holds them against N. How
noise fluctuates is not measured: no rating at hand says what it does.
"""


def fit_curves(rated: Path, speech: Path, output: Path | None) -> None:
    """Fit, write (into the package unless `output` is given) and print the errors. Raises CorpusError."""
    result = fit.fit(rated, clean_files(speech))
    path = output or CURVES
    fit.write(result, path, f"mtqnet labels fit --rated {rated.name} --speech {speech.name}")
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
    lines += ["", f"| {triples.count} sentences, three signals | S-MOS | N-MOS | G-MOS |", "|---" * 4 + "|"]
    lines += [_line("noisy (VoiceBank-DEMAND)", triples.noisy), _line("enhanced (CMGAN)", triples.enhanced)]
    return "\n".join((*lines, "", TRIED_TAIL))


def _line(name: str, values: Sequence[float]) -> str:
    return "| " + " | ".join((name, *(f"{value:.3f}" for value in values))) + " |"


def label_files(clean: Path, unprocessed: Path | None, processed: Path, as_json: bool) -> None:
    """Label one recording from its files and print the labels with their reasons. Raises MtqnetError."""
    found = label_set.label_files(clean, unprocessed, processed)
    if as_json:
        print(json.dumps(found.record(), indent=1))
        return
    for caution in found.cautions:
        Console(stderr=True).print(Text(f"caution: {caution}", style="yellow"), soft_wrap=True)
    console = Console()
    console.print(quest_table(found))
    console.print(LABELS_ARE, highlight=False, soft_wrap=True)


def quest_table(found: label_set.LabelledSet) -> Table:
    """Labels, reasons, and measures of the literature, for a terminal."""
    table = Table("measure", "value", "what it says", box=None, pad_edge=False)
    quest, measures, composite = found.quest, found.objective, found.composite
    rows: list[tuple[str, str, str]] = [
        ("S-MOS", f"{quest.s_mos:.2f}", f"the speech: as modulated noise at Q {quest.equivalent_q_db:.1f} dB"),
        ("N-MOS", f"{quest.n_mos:.2f}", f"the background: {quest.equivalent_snr_db:.1f} dB below the speech"),
        ("G-MOS", f"{quest.g_mos:.2f}", "the whole"),
        ("PESQ", f"{measures.pesq:.2f}", "wideband, processed against clean"),
        ("STOI", f"{measures.stoi:.3f}", "intelligibility, 0 to 1"),
        ("SDI", f"{measures.sdi:.4f}", "speech distortion index, lower is better"),
        ("Csig", f"{composite.csig:.2f}", "composite measures of Hu and Loizou, with wideband PESQ:"),
        ("Cbak", f"{composite.cbak:.2f}", "for comparison with the literature; they fall with any noise"),
        ("Covl", f"{composite.covl:.2f}", ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table
