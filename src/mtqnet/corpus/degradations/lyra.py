"""Lyra V2, a neural speech codec (SoundStream; Zeghidour et al. 2021). Weights and runtime: Google, Apache-2.0.

The three graphs are read from the folder `lyra_v2` of the weights (weights.py) and run by the package
ai-edge-litert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from mtqnet.corpus.degradations.coding import Coding, Samples, draw_level
from mtqnet.corpus.degradations.packages import module
from mtqnet.corpus.degradations.pcm import in_frames
from mtqnet.corpus.degradations.weights import weights_file
from mtqnet.corpus.pool import Pool

FRAME = 320
"""Samples, 20 ms"""
QUANTIZERS = {3.2: 16, 6.0: 30, 9.2: 46}
"""kbit/s -> residual quantizers of 4 bits for each frame"""
FEATURES = 64
"""Numbers for each frame between encoder and decoder"""


@dataclass(frozen=True)
class LyraV2(Coding):
    """Lyra V2 at 16 kHz."""

    kbps: float
    """3.2, 6.0 or 9.2"""

    FILES: ClassVar = ("soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite")

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> LyraV2:  # noqa: ARG003
        return cls(float(rng.choice(list(QUANTIZERS))), level_dbov=draw_level(rng))

    @property
    def delay(self) -> int:
        return 0

    def transcode(self, samples: Samples) -> Samples:
        encoder, quantizer, decoder = (_interpreter(name) for name in self.FILES)
        encode, decode = encoder.get_signature_runner(), decoder.get_signature_runner()
        quantize, restore = (quantizer.get_signature_runner(name) for name in ("encode", "decode"))
        count = np.array(QUANTIZERS[self.kbps], np.int32)
        out = []
        for frame in in_frames(samples.astype(np.float32), FRAME):
            features = encode(input_audio=frame[None])["output_0"].reshape(1, 1, FEATURES)
            indices = quantize(input_frames=features, num_quantizers=count)["output_0"]
            restored = restore(encoding_indices=indices)["output_0"]
            out.append(decode(input_audio=restored)["output_0"].reshape(-1))
        return np.concatenate(out)


def _interpreter(name: str) -> Any:
    """A fresh interpreter: the state of the graphs must begin with the clip."""
    return module("ai_edge_litert.interpreter").Interpreter(str(weights_file("lyra_v2", name)), num_threads=1)
