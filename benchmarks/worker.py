"""One scorer in a process of its own: python worker.py KIND MODEL CORES [FILE ...]

Runs in this project's environment or in that of the peers; imports nothing but the scorer. KIND is mtqnet, floor
(decode and log-mel alone), dnsmos or distillmos. With files it scores them one after the other and leaves; without
it takes paths from standard input. Each answer is a line of JSON: the seconds it took, and the peak memory so far.
CORES cores are all that it may use.
"""

import json
import os
import resource
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATE = 16_000


def samples_of(path: str) -> Any:
    """(samples,) at 16 kHz, -1 to 1, for the peers: the clips are mono at that rate."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE and samples.ndim == 1
    return samples.clip(-1.0, 1.0)


def mtqnet(model: str, cores: int) -> Callable[[str], Any]:
    from mtqnet.scoring.predictor import Predictor

    predictor = Predictor(model, cores, track=False)
    return lambda path: predictor.score(path).raise_for_error()


def floor(_model: str, _cores: int) -> Callable[[str], Any]:
    from mtqnet.audio import features, reading

    return lambda path: features.log_mel(reading.read(path).samples)


def dnsmos(_model: str, cores: int) -> Callable[[str], Any]:
    import onnxruntime
    from speechmos import dnsmos

    session = onnxruntime.InferenceSession

    def limited(path: str, **options: Any) -> Any:
        """A session with as many threads as cores: more would wait for one another, to the peer's disadvantage."""
        threads = onnxruntime.SessionOptions()
        threads.intra_op_num_threads = cores
        return session(path, threads, **options)

    onnxruntime.InferenceSession = limited

    return lambda path: dnsmos.run(samples_of(path), RATE)


def distillmos(_model: str, cores: int) -> Callable[[str], Any]:
    # Distill-MOS imports torchaudio, which it needs for its command line alone; no release of it fits this torch.
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torch
    from distillmos import ConvTransformerSQAModel

    torch.set_num_threads(cores)
    model = ConvTransformerSQAModel().eval()

    def score(path: str) -> float:
        with torch.inference_mode():
            return float(model(torch.from_numpy(samples_of(path))[None]).mean())

    return score


KINDS = {"mtqnet": mtqnet, "floor": floor, "dnsmos": dnsmos, "distillmos": distillmos}


def main(kind: str, model: str, cores: int, files: list[str]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-cores:]))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no answer
    score = KINDS[kind](model, cores)
    if not files:
        print(json.dumps({"ready": Path(__file__).name}), file=answers, flush=True)
    for line in files or sys.stdin:
        began = time.perf_counter()
        score(line.strip())
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": took, "peak_kb": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
