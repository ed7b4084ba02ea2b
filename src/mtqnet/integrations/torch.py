"""A model as a differentiable part of torch: for use as a loss, a reward, or a measure in a training loop.

>>> import mtqnet.integrations.torch                                              # doctest: +SKIP
>>> module = mtqnet.integrations.torch.ScoreModule("base", targets=["g_mos"])     # doctest: +SKIP
>>> loss = other_loss - 0.1 * module(enhanced, lengths).mean()                    # doctest: +SKIP

Needs the extra `train`, and a model with a `.safetensors` file next to its `.onnx` file. The input features of the
models, which scoring computes by numpy (audio/features.py), are computed here by torch functions, through which
gradients reach the samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from mtqnet.audio.features import (
    MEL_FLOOR,
    MEL_HOP,
    MEL_WINDOW,
    SPECTRUM_HOP,
    SPECTRUM_WINDOW,
    mel_matrix,
)
from mtqnet.errors import UsageError, missing_extra

try:
    import torch
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise missing_extra("mtqnet.integrations.torch", "train") from error

from torch import Tensor, nn
from torch.nn import functional

from mtqnet.audio import windows
from mtqnet.audio.flags import MIN_DURATION_S
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.training.export import Scorer, load_weights

__all__ = ["ScoreModule"]


class ScoreModule(nn.Module):
    """A torch module that computes the scores of waveforms and is differentiable with respect to every sample.

    The scores of `small` equal those of `mtqnet.score` within 0.001 (SDI: log10). For `base`, they differ by up to
    0.1, because `mtqnet.score` uses a graph with 8-bit weights. There are three further differences: the scores are
    not clipped to their range, because a clipped score has no gradient; silence at the ends is not trimmed; and only
    inputs of less than 0.5 s are refused. Recordings of more than 10 s are cut into windows in the same way.

    The weights are frozen, and dropout is disabled, also in training mode.

    Caution: A score that is maximised is no longer a valid measure. Gradient ascent can increase the score of any
    signal, even of the output of an untrained network while its SI-SDR decreases (tests/integrations/test_torch.py).
    Add the score with a small weight to a loss that compares with the clean signal, and evaluate the result by a
    measure that was not optimised, or by a listening test. The gradient can be large in near silence: clip it.
    """

    def __init__(self, model: str | os.PathLike[str] = "base", targets: Sequence[str] = ()) -> None:
        """Load a model with frozen weights.

        Args:
            model: Name of a shipped model, or path of your own.
            targets: Keys of the scores in the order of the result; default: all scores of the model.

        Raises:
            ModelError: The model has no `.safetensors` file.
            UsageError: The model does not predict one of the targets.
        """
        super().__init__()
        opened = load_weights(model)
        self.targets = tuple(targets) or opened.record.targets
        if unknown := [key for key in self.targets if key not in opened.record.targets]:
            raise UsageError(
                f"{opened.record.name} has no score {unknown[0]!r}: {', '.join(opened.record.targets)}"
            )
        self._columns = [opened.record.targets.index(key) for key in self.targets]
        self._peak_normalise = opened.record.peak_normalise
        self._scorer = Scorer(opened.network, opened.encoder)
        self.requires_grad_(False)
        self.train(False)

    def forward(self, waveform: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return the scores of waveforms.

        Args:
            waveform: Shape (batch, samples) at 16 kHz, full scale 1.
            lengths: Shape (batch,): number of samples of each clip, if shorter clips are padded at the end.

        Returns:
            Shape (batch, targets), each score in its own unit, not clipped.

        Raises:
            UsageError: Other shapes, or a clip of less than 0.5 s.
        """
        clips = _clips(waveform, lengths)
        cut = [windows.cut(len(clip)) for clip in clips]
        pieces = [clip[w.start : w.stop] for clip, parts in zip(clips, cut, strict=True) for w in parts]
        predicted = torch.split(self._predicted(pieces), [len(parts) for parts in cut])
        whole = [_combined(*each) for each in zip(predicted, cut, clips, strict=True)]
        return torch.stack(whole)[:, self._columns]

    def train(self, mode: bool = True) -> ScoreModule:  # noqa: ARG002 - there is no other mode
        """Return the module unchanged: it has no training mode."""
        super().train(False)
        # cuDNN computes the gradient of an LSTM in training mode only; these LSTMs have no dropout.
        self._scorer.network.lstm.train(True)
        return self

    def _predicted(self, pieces: list[Tensor]) -> Tensor:
        """Return the predictions (pieces, targets of the model) of windows (samples_i,)."""
        normalised = [peak_normalised(piece) for piece in pieces] if self._peak_normalise else pieces
        views = [
            nn.utils.rnn.pad_sequence([VIEWS[name](piece) for piece in normalised], batch_first=True)
            for name in self._scorer.features
        ]
        samples = torch.tensor([len(piece) for piece in pieces], device=pieces[0].device)
        values: Tensor = self._scorer(*views, samples)[0]
        return values


def _clips(waveform: Tensor, lengths: Tensor | Sequence[int] | None) -> list[Tensor]:
    """The real samples of each clip, float32."""
    if waveform.ndim != 2 or not len(waveform):
        raise UsageError(
            f"expected (batch, samples), got {tuple(waveform.shape)}: pass a single clip as clip[None]"
        )
    counts = [waveform.shape[1]] * len(waveform) if lengths is None else [int(n) for n in lengths]
    if len(counts) != len(waveform) or not all(n <= waveform.shape[1] for n in counts):
        raise UsageError(
            f"lengths {counts}: expected one for each of {len(waveform)} clips, at most {waveform.shape[1]} samples"
        )
    if min(counts) < MIN_DURATION_S * SAMPLE_RATE:
        raise UsageError(f"a clip of {min(counts)} samples: a score needs {MIN_DURATION_S:g} s or more")
    samples = _full_scale(waveform)
    return [clip[:n] for clip, n in zip(samples, counts, strict=True)]


def _full_scale(waveform: Tensor) -> Tensor:
    """Samples as float32 with full scale 1: integers are divided by their full scale, as `mtqnet.score` does."""
    if waveform.is_floating_point():
        return waveform.to(torch.float32)
    if waveform.dtype == torch.uint8:  # unsigned PCM, zero at 128
        return (waveform.to(torch.float32) - 128.0) / 128.0
    if waveform.dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        return (waveform.to(torch.float64) / -float(torch.iinfo(waveform.dtype).min)).to(torch.float32)
    raise UsageError(f"samples of type {waveform.dtype} are not audio: pass floats or signed integers")


def _combined(values: Tensor, cut: list[windows.Window], clip: Tensor) -> Tensor:
    """(windows, targets) -> (targets,): the mean by active sound. How much each weighs has no gradient."""
    if len(cut) == 1:
        return values[0]
    weight = torch.from_numpy(windows.weights(cut, clip.detach().cpu().numpy())).to(values)
    return (weight[:, None] * values).sum(dim=0) / weight.sum()


def log_mel(samples: Tensor) -> Tensor:
    """(samples,) at 16 kHz -> (samples // 160, 80), log10 of mel power. Needs more than 200 samples.

    Below the floor the gradient is zero; just above it is large, because of the logarithm.
    """
    frames = _frames(samples, MEL_WINDOW, MEL_HOP)[: len(samples) // MEL_HOP]
    spectra = torch.fft.rfft(frames * torch.hann_window(MEL_WINDOW, device=samples.device))
    power = spectra.real.square() + spectra.imag.square()
    mel = power @ torch.from_numpy(mel_matrix()).to(samples.device)
    return torch.log10(mel.clamp(min=MEL_FLOOR))


def spectrum(samples: Tensor) -> Tensor:
    """(samples,) -> (1 + samples // 256, 257): linear magnitude."""
    window = torch.hamming_window(SPECTRUM_WINDOW, periodic=False, device=samples.device)
    return torch.abs(torch.fft.rfft(_frames(samples, SPECTRUM_WINDOW, SPECTRUM_HOP) * window))


def wave(samples: Tensor) -> Tensor:
    """Return the samples, (samples,), as (samples, 1)."""
    return samples[:, None]


VIEWS: Mapping[str, Callable[[Tensor], Tensor]] = {"logmel": log_mel, "spectrum": spectrum, "wave": wave}
"""By the names of audio.features.FEATURES"""


def peak_normalised(samples: Tensor) -> Tensor:
    """Divide by the peak; silence is not changed."""
    peak = samples.abs().amax()
    return samples / peak if peak > 0 else samples


def _frames(samples: Tensor, window: int, hop: int) -> Tensor:
    """(samples,) -> (frames, window), reflected by half a window at both ends."""
    padded = functional.pad(samples[None], (window // 2, window // 2), mode="reflect")[0]
    return padded.unfold(0, window, hop)
