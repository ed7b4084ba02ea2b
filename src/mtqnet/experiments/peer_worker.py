"""Score recordings with DNSMOS and Distill-MOS, by their own code: python peer_worker.py LIST.csv SCORES.csv CORE

Run by the interpreter of an environment that has `speechmos` and `distillmos` (make peers); nothing of mtqnet is
imported. LIST.csv: columns path, start, samples (empty: the whole file). Distill-MOS imports torchaudio, which it
needs for its command line alone; an empty module takes its place, as none fits this torch.
"""

import csv
import os
import sys
import types
from pathlib import Path
from typing import Any

RATE = 16_000
COLUMNS = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808", "distillmos")


def read(row: dict[str, str]) -> Any:
    import soundfile
    import soxr

    length = int(row["samples"]) if row["samples"] else -1
    samples, rate = soundfile.read(row["path"], frames=length, start=int(row["start"]), dtype="float32")
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    samples = samples if rate == RATE else soxr.resample(samples, rate, RATE)
    return samples.clip(-1.0, 1.0)


def main(listing: str, target: str, core: str) -> None:
    if hasattr(os, "sched_setaffinity"):  # one core each: their thread pools would wait for one another
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {usable[int(core) % len(usable)]})
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch
    from distillmos import ConvTransformerSQAModel
    from speechmos import dnsmos

    torch.set_num_threads(1)
    model = ConvTransformerSQAModel().eval()
    with Path(listing).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with Path(target).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row in rows:
            samples = read(row)
            told = dnsmos.run(samples, RATE)
            with torch.inference_mode():
                mos = float(model(torch.from_numpy(samples)[None]).mean())
            writer.writerow([*(float(told[key]) for key in ("sig_mos", "bak_mos", "ovrl_mos", "p808_mos")), mos])


if __name__ == "__main__":
    main(*sys.argv[1:])
