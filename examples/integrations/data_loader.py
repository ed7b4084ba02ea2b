"""Score in the workers of a DataLoader, also with the start method "spawn": pip install mtqnet torch.

Each worker gets the predictor by pickle and loads the model once.
"""

from __future__ import annotations

from pathlib import Path

import soundfile as sf
import torch
from torch.utils.data import DataLoader, Dataset

import mtqnet


class Recordings(Dataset[tuple[str, float]]):
    """Files with the G-MOS of their first seconds; NaN for a recording that cannot be scored."""

    def __init__(self, files: list[Path], model: str = "small", seconds: float = 10.0) -> None:
        self.files, self.seconds = files, seconds
        self.predictor = mtqnet.load(model, threads=1)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[str, float]:
        rate = sf.info(self.files[index]).samplerate
        samples, _ = sf.read(self.files[index], frames=int(self.seconds * rate), dtype="float32")
        g_mos = self.predictor.score(torch.from_numpy(samples), rate).g_mos
        return str(self.files[index]), float("nan") if g_mos is None else g_mos


def loader(files: list[Path], workers: int = 2) -> DataLoader[tuple[str, float]]:
    """Return a loader whose batches have names and scores."""
    return DataLoader(Recordings(files), batch_size=4, num_workers=workers, multiprocessing_context="spawn")


if __name__ == "__main__":
    import sys

    for names, scores in loader([Path(name) for name in sys.argv[1:]]):
        print(*zip(names, scores.tolist(), strict=True), sep="\n")
