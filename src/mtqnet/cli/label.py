"""`mtqnet label`: labels of a recording whose clean speech is available."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from mtqnet.labels.three_signal import LabelledSet

HELP = (
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
NOTE = "S-, N- and G-MOS are 3QUEST-style, anchored on public P.835 ratings; they are not 3QUEST scores."


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
    console.print(NOTE, highlight=False, soft_wrap=True, markup=False)


def label_table(found: LabelledSet) -> Table:
    """Labels with their reasons, and measures of the literature."""
    from rich.table import Table

    table = Table("measure", "value", "meaning", box=None, pad_edge=False)
    quest, measures, composite = found.quest, found.objective, found.composite
    rows: list[tuple[str, str, str]] = [
        (
            "S-MOS",
            f"{quest.s_mos:.2f}",
            f"speech: equivalent to modulated noise at Q {quest.equivalent_q_db:.1f} dB",
        ),
        ("N-MOS", f"{quest.n_mos:.2f}", f"background: {quest.equivalent_snr_db:.1f} dB below the speech"),
        ("G-MOS", f"{quest.g_mos:.2f}", "overall quality"),
        ("PESQ", f"{measures.pesq:.2f}", "wideband, processed compared with clean"),
        ("STOI", f"{measures.stoi:.3f}", "intelligibility, 0 to 1"),
        ("SDI", f"{measures.sdi:.4f}", "speech distortion index, lower is better"),
        ("Csig", f"{composite.csig:.2f}", "composite measures of Hu and Loizou, with wideband PESQ:"),
        ("Cbak", f"{composite.cbak:.2f}", "for comparison with the literature; any noise lowers them"),
        ("Covl", f"{composite.covl:.2f}", ""),
    ]
    for row in rows:
        table.add_row(*row)
    return table
