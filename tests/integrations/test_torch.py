"""The differentiable module: it scores as the ONNX file does, has a gradient to every sample, and can be gamed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tiny_model
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.errors import ModelError, UsageError
from mtqnet.integrations.torch import ScoreModule
from mtqnet.scoring.predictor import Predictor
from mtqnet.targets import KEYS, named
from mtqnet.training.export import PARITY

Samples = NDArray[np.float32]


@pytest.fixture(scope="module", params=tiny_model.KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without encoder; log-mel and Whisper side by side; the paper's spectrum, sinc and encoder in a row."""
    return tiny_model.write(tmp_path_factory.mktemp(request.param) / "tiny", request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("plain") / "tiny", "plain")


def noisy(voice: Callable[..., Samples], seconds: float, seed: int = 0) -> Samples:
    clean = voice(seconds, seed=seed)
    return clean + np.float32(0.02) * np.random.default_rng(seed).standard_normal(len(clean), dtype=np.float32)


def batch(clips: list[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    """Zeros behind the shorter ones, and lengths."""
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    return padded, torch.tensor([len(clip) for clip in clips])


def assert_served(said: torch.Tensor, clips: list[Samples], model: Path) -> None:
    """Within PARITY of what is served, in each target's own unit, SDI in log10."""
    predictor = Predictor(model)
    for row, clip in zip(said.detach().numpy(), clips, strict=True):
        scores = predictor.score(clip, SAMPLE_RATE)
        for target, value in zip(named(KEYS), row, strict=True):
            served = scores.value(target.key)
            assert served is not None
            difference = target.compress(np.array([value])) - target.compress(np.array([served]))
            assert abs(difference[0]) < PARITY, target.key


def test_scores_are_those_of_the_onnx_file_alone_and_in_a_batch(
    model: Path, voice: Callable[..., Samples]
) -> None:
    clips = [noisy(voice, 1.7), noisy(voice, 0.9, 1)[:-77], noisy(voice, 1.25, 2)]
    module = ScoreModule(model)
    assert module.targets == KEYS
    assert_served(module(*batch(clips)), clips, model)
    assert_served(module(torch.from_numpy(clips[1])[None]), clips[1:2], model)


def test_longer_recordings_are_cut_and_combined_as_served(plain: Path, voice: Callable[..., Samples]) -> None:
    loud_and_soft = np.concatenate([noisy(voice, 11.0), 0.2 * noisy(voice, 11.3, 1)]).astype(np.float32)
    clips = [loud_and_soft, noisy(voice, 2.0)]
    assert_served(ScoreModule(plain)(*batch(clips)), clips, plain)


def test_gradient_is_the_slope_of_the_score(model: Path, voice: Callable[..., Samples]) -> None:
    """Against a difference quotient in its own direction."""
    module = ScoreModule(model, ["g_mos"])
    wave = torch.from_numpy(noisy(voice, 1.0))[None].requires_grad_()
    score = module(wave)
    assert score.shape == (1, 1)
    (slope,) = torch.autograd.grad(score.sum(), wave)
    assert torch.isfinite(slope).all() and (slope != 0).float().mean() > 0.99
    direction = slope / slope.norm()
    step = 2e-4 / float(slope.norm())  # moves the score by about 0.0002
    with torch.no_grad():
        quotient = (module(wave + step * direction) - module(wave - step * direction)) / (2 * step)
    assert float(quotient) == pytest.approx(float(slope.norm()), rel=0.05)


def test_padding_has_no_gradient(plain: Path, voice: Callable[..., Samples]) -> None:
    waves, lengths = batch([noisy(voice, 1.5), noisy(voice, 0.8)])
    waves.requires_grad_()
    (slope,) = torch.autograd.grad(ScoreModule(plain)(waves, lengths).sum(), waves)
    assert slope[1, : lengths[1]].any() and not slope[1, lengths[1] :].any()


def test_training_mode_changes_no_score_and_no_weight_learns(model: Path, voice: Callable[..., Samples]) -> None:
    module, wave = ScoreModule(model), torch.from_numpy(noisy(voice, 1.0))[None]
    before = module(wave)
    assert torch.equal(module.train()(wave), before)
    assert torch.equal(torch.nn.Sequential(module).train()[0](wave), before)
    assert not [name for name, weight in module.named_parameters() if weight.requires_grad]


def test_columns_are_the_targets_asked_for(plain: Path, voice: Callable[..., Samples]) -> None:
    wave = torch.from_numpy(noisy(voice, 1.0))[None]
    said = ScoreModule(plain, ["stoi_est", "s_mos"])(wave)
    assert torch.equal(said, ScoreModule(plain)(wave)[:, [KEYS.index("stoi_est"), KEYS.index("s_mos")]])


def test_what_cannot_be_meant_is_refused_in_words(plain: Path) -> None:
    module = ScoreModule(plain)
    for waves, lengths in (
        (torch.zeros(16_000), None),
        (torch.zeros(1, 7_999), None),
        (torch.zeros(2, 16_000), [16_000]),
        (torch.zeros(1, 16_000), [16_001]),
        (torch.zeros(1, 16_000), [100]),
    ):
        with pytest.raises(UsageError):
            module(waves, lengths)
    with pytest.raises(UsageError, match="no score 'mos'"):
        ScoreModule(plain, ["mos"])


def test_model_without_weights_states_so(toy_model: Path, plain: Path, tmp_path: Path) -> None:
    for suffix in (".onnx", ".json"):
        (tmp_path / f"tiny{suffix}").write_bytes((plain / f"tiny{suffix}").read_bytes())
    with pytest.raises(ModelError, match=r"there is no tiny\.safetensors"):
        ScoreModule(tmp_path)
    with pytest.raises(ModelError, match="does not describe a network"):
        ScoreModule(toy_model)


def test_silence_scores_and_has_a_finite_gradient(plain: Path) -> None:
    wave = torch.zeros(1, 16_000, requires_grad=True)
    score = ScoreModule(plain)(wave)
    (slope,) = torch.autograd.grad(score.sum(), wave)
    assert torch.isfinite(score).all() and torch.isfinite(slope).all()


def si_sdr(clean: Samples, heard: Samples) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019)."""
    one, other = clean.astype(np.float64), heard.astype(np.float64)
    target = (one @ other) / (one @ one) * one
    return float(10 * np.log10(np.sum(target**2) / np.sum((other - target) ** 2)))


def test_ascending_raises_the_score_of_a_network_that_knows_nothing_and_not_the_sound(
    plain: Path, voice: Callable[..., Samples]
) -> None:
    """The caveat of the docstring, shown: weights are drawn at random. 20 steps up its gradient raise G-MOS by
    0.11, while the true measure, SI-SDR against the clean voice, falls from 8.0 to 7.3 dB."""
    clean, module = voice(2.0), ScoreModule(plain, ["g_mos"])
    start = noisy(voice, 2.0)
    wave = torch.from_numpy(start.copy())[None].requires_grad_()
    optimiser = torch.optim.Adam([wave], lr=1e-3, maximize=True)
    first = float(module(wave).detach())
    for _ in range(20):
        optimiser.zero_grad()
        module(wave).sum().backward()
        optimiser.step()
    raised = float(module(wave).detach()) - first
    assert raised > 0.05
    assert si_sdr(clean, wave.detach().numpy()[0]) < si_sdr(clean, start)


@pytest.mark.parametrize("kind", [torch.int16, torch.int32, torch.float64])
def test_integers_are_scaled_by_their_full_scale(
    plain: Path, voice: Callable[..., Samples], kind: torch.dtype
) -> None:
    clip, judge = torch.from_numpy(noisy(voice, 1.0))[None], ScoreModule(plain)
    scale = 1.0 if kind.is_floating_point else -float(torch.iinfo(kind).min)
    other = (clip.to(torch.float64) * scale).round(decimals=0 if scale > 1 else 12).to(kind)
    torch.testing.assert_close(judge(other), judge(clip), atol=1e-3, rtol=0)


def test_types_that_are_not_audio_are_refused(plain: Path) -> None:
    with pytest.raises(UsageError, match="not audio"):
        ScoreModule(plain)(torch.zeros(1, SAMPLE_RATE, dtype=torch.bool))
