"""Generate the example recordings: a synthetic voice, degraded by kinds of processing of this package.

    python examples/make_recordings.py examples/recordings

The voice is `slt` of the speech synthesiser flite (`apt install flite`); the noise is a crowd of other voices of flite.
CHAINS lists the processing of each file, which is that of mtqnet.corpus.degradations.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio import reading, resampling
from mtqnet.audio.level import active_level
from mtqnet.corpus.degradations import device, network, noise, room, suppressors
from mtqnet.corpus.degradations.step import Step, Tracks, start

SENTENCE = "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."
CROWD = {
    "awb": "These days a chicken leg is a rare dish, but rice is often served in round bowls.",
    "kal16": "The juice of lemons makes fine punch. The box was thrown beside the parked truck.",
    "rms": "The hogs were fed chopped corn and garbage. Four hours of steady work faced us.",
}
"""Harvard sentences (IEEE 1969), as every telephone laboratory uses them."""
SECONDS = 4.5


def voice(name: str, text: str) -> NDArray[np.float32]:
    """(samples,) at 16 kHz of flite's voice `name`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.wav"
        try:
            subprocess.run(["flite", "-voice", name, "-t", text, "-o", str(path)], check=True)
        except FileNotFoundError:
            sys.exit("flite is not installed: apt install flite")
        return reading.read(path).samples


def crowd(length: int) -> NDArray[np.float32]:
    """(length,): the other voices at once, each also half a second later."""
    voices = [voice(name, text) for name, text in CROWD.items()]
    levelled = [np.resize(v, length + 8000) * 10 ** (-active_level(v) / 20) for v in voices]
    mixed: NDArray[np.float32] = np.sum([v[:length] + v[8000:] for v in levelled], axis=0).astype(np.float32)
    return mixed


class Crowd:
    """The crowd as a noise step of this script."""

    def __init__(self, snr_db: float) -> None:
        self.snr_db = snr_db

    def __call__(self, made: Tracks) -> Tracks:
        return noise.add_at(made, crowd(len(made.clean)), self.snr_db)


CHAINS: dict[str, list[Step | Crowd]] = {
    "1_clean": [],
    "2_office_noise": [noise.ColouredNoise(6.0, 15.0, 1)],
    "3_crowd": [Crowd(5.0)],
    "4_crowd_noise_reducer": [Crowd(5.0), suppressors.SpectralGain(3.0, -25.0, 1.5)],
    "5_telephone": [
        noise.WhiteNoise(25.0, 2),
        device.BandLimit(300.0, 3400.0, 12),
        device.Mnru(18.0, True, 3),
    ],
    "6_lost_packets": [network.FrameLoss(0.15, 2.0, 20, 4)],
    "7_hall_overdriven": [room.DecayRoom(0.9, 0.0, 5), device.Clipping(15.0, False)],
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    clean = voice("slt", SENTENCE)[: round(SECONDS * resampling.SAMPLE_RATE)]
    clean = clean * np.float32(10 ** ((-26.0 - active_level(clean)) / 20))
    for name, chain in CHAINS.items():
        made = start(clean)
        for step in [*chain, device.Playback(-26.0)]:
            made = step(made)
        sf.write(folder / f"{name}.flac", made.mixture, resampling.SAMPLE_RATE, subtype="PCM_16")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
