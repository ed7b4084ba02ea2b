"""Score recordings with another predictor, by its own code: python peer_worker.py NAME LIST.csv SCORES.csv

Run by the interpreter of an environment that has `speechmos` and `distillmos` (make peers); mtqnet is not imported.
NAME is a key of COLUMNS. LIST.csv: columns path, start, samples (empty: the whole file). Distill-MOS imports
torchaudio, which it needs for its command line alone; an empty module takes its place, as none fits this torch.
"""

import csv
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16_000
COLUMNS = {
    "dnsmos": ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808"),
    "distillmos": ("distillmos",),
}
"""Columns of each predictor"""
WINDOW = 144_161
"""Samples of one window of DNSMOS, 9.01 s. Shorter recordings are repeated to this length"""


def read(row: dict[str, str]) -> Any:
    import soundfile
    import soxr

    length = int(row["samples"]) if row["samples"] else -1
    samples, rate = soundfile.read(row["path"], frames=length, start=int(row["start"]), dtype="float32")
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    samples = samples if rate == RATE else soxr.resample(samples, rate, RATE)
    return samples.clip(-1.0, 1.0)


def dnsmos() -> Any:
    import onnxruntime as ort

    def one_thread(
        path: str,
    ) -> Any:  # else each process has a thread for every core, and they wait for one another
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return session(path, options)

    session = ort.InferenceSession
    ort.InferenceSession = one_thread
    from speechmos import dnsmos

    def score(samples: Any) -> list[float]:
        if len(samples) < WINDOW:  # otherwise it would be doubled, and several windows would be averaged
            samples = np.resize(samples, WINDOW)
        told = dnsmos.run(samples, RATE)
        return [float(told[key]) for key in ("sig_mos", "bak_mos", "ovrl_mos", "p808_mos")]

    return score


def distillmos() -> Any:
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch
    from distillmos import ConvTransformerSQAModel

    torch.set_num_threads(1)
    model = ConvTransformerSQAModel().eval()

    def score(samples: Any) -> list[float]:
        with torch.inference_mode():
            return [float(model(torch.from_numpy(samples)[None]).mean())]

    return score


def main(predictor: str, listing: str, target: str) -> None:
    score = {"dnsmos": dnsmos, "distillmos": distillmos}[predictor]()
    with Path(listing).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with Path(target).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS[predictor])
        writer.writerows(score(read(row)) for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
