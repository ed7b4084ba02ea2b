"""`mtqnet plot`: a picture of one recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mtqnet.cli.options import Model

HELP = (
    "Draw a recording: waveform, spectrogram, the six scores over time, and the worst part if it differs from the "
    "rest. Needs mtqnet\\[analysis].\n\n"
    "Each point of a line is the score of the 3 s around it. The bars at the right end are the scores of the complete "
    "recording with their 90 % prediction intervals.\n\n"
    "[bold]Example[/]\n\n"
    "[cyan]mtqnet plot call.wav --output call.png[/]"
)


def plot(
    file: Annotated[Path, typer.Argument(help="A recording.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write: .png or .svg.")],
    model: Model = "base",
) -> None:
    """Draw a recording."""
    from mtqnet.audio.reading import read
    from mtqnet.cli.terminal import output_console
    from mtqnet.evaluation import plots, tables
    from mtqnet.scoring.over_time import with_local_track
    from mtqnet.scoring.predictor import Predictor

    plots.check(output)
    tables.refuse_overwrite(output, [file])
    predictor = Predictor(model)
    scores = predictor.score(file).raise_for_error()
    samples = read(file).samples
    plots.draw_recording(samples, with_local_track(predictor, samples, scores), output)
    output_console().print(str(scores), soft_wrap=True, markup=False, highlight=False)
