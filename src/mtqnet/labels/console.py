"""What a person sees of `mtqnet labels fit`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from mtqnet.errors import CorpusError
from mtqnet.labels import fit
from mtqnet.labels.three_signal import CURVES
from mtqnet.signal.audio import SUFFIXES


def fit_curves(rated: Path, speech: Path, output: Path | None) -> None:
    """Fit, write (into the package unless `output` is given) and print the errors. Raises CorpusError."""
    if not speech.is_dir():
        raise CorpusError(f"{speech} is not a folder of clean speech")
    files = sorted(path for path in speech.rglob("*") if path.suffix.lower() in SUFFIXES)
    spread = files[:: max(1, len(files) // fit.MAX_TALKERS)]
    result = fit.fit(rated, spread)
    path = output or CURVES
    fit.write(result, path, f"mtqnet labels fit --rated {rated.name} --speech {speech.name}")
    errors = ", ".join(f"{k.upper()} {v:.2f}" for k, v in result.error_mos.items())
    Console().print(f"error per condition in MOS: {errors}; {result.clips} rated clips -> {path}")
