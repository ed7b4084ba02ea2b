"""The loss of MPL: Huber loss, masks, unknown labels and weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtqnet.targets import KEYS, OBJECTIVE, QUEST
from mtqnet.training.config import LossConfig
from mtqnet.training.losses import MultiTaskLoss, element_loss, supervised
from mtqnet.training.model import Output

HUBER = LossConfig()


def distance(error: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """The elementwise loss of an error."""
    value: torch.Tensor = element_loss(config)(error, torch.zeros_like(error))
    return value


def multi_task(
    output: Output, labels: torch.Tensor, targets: tuple[str, ...], config: LossConfig, progress: float = 0.0
) -> torch.Tensor:
    return MultiTaskLoss(targets, config)(output, labels, progress=progress)


def scored(frames: torch.Tensor, counts: list[int]) -> Output:
    """Utterance scores are means over frames, as in the network; the padding is random to show its use."""
    count = torch.tensor(counts)
    values = torch.stack([clip[:n].mean(dim=0) for clip, n in zip(frames, counts, strict=True)])
    return Output(values, frames, count)


@pytest.fixture
def output() -> Output:
    return scored(3 * torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0)), [5, 2, 3])


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.randn(3, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_huber_is_quadratic_up_to_delta_and_linear_beyond(delta: float) -> None:
    error = torch.linspace(-5, 5, 101)
    size = error.abs()
    expected = torch.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
    torch.testing.assert_close(distance(error, LossConfig(delta=delta)), expected)


def test_other_losses_are_squared_and_absolute_error() -> None:
    error = torch.tensor([-2.0, 0.5])
    assert distance(error, LossConfig("mse")).tolist() == [4.0, 0.25]
    assert distance(error, LossConfig("mae")).tolist() == [2.0, 0.5]


def test_loss_is_the_formula_of_the_paper_written_out(output: Output, labels: torch.Tensor) -> None:
    config = LossConfig(frame_weight=0.7, pseudo_weight=0.3)
    expected = 0.0
    for place, key in enumerate(KEYS):
        weight = 0.3 if key in {target.key for target in OBJECTIVE} else 1.0
        for clip in range(3):
            truth, frames = labels[clip, place], int(output.counts[clip])
            whole = distance(output.values[clip, place] - truth, config)
            each = distance(output.frames[clip, :frames, place] - truth, config).mean()
            expected += weight * float(whole + 0.7 * each) / 3
    assert float(multi_task(output, labels, KEYS, config)) == pytest.approx(expected, rel=1e-5)


def test_loss_of_perfect_scores_is_zero(labels: torch.Tensor) -> None:
    perfect = scored(labels[:, None, :].expand(3, 4, 6).clone(), [4, 2, 1])
    assert float(multi_task(perfect, labels, KEYS, HUBER)) == 0.0


def test_padding_has_no_influence(output: Output, labels: torch.Tensor) -> None:
    worse = output.frames.clone()
    worse[1, 2:] = 1e6
    padded = output._replace(frames=worse)
    assert multi_task(padded, labels, KEYS, HUBER) == multi_task(output, labels, KEYS, HUBER)


def test_unknown_labels_have_no_influence(output: Output, labels: torch.Tensor) -> None:
    """If one label of a target is unknown, its loss is that of the other clips."""
    partly = labels.clone()
    partly[1, 0] = torch.nan
    keep = [0, 2]
    rest = Output(output.values[keep], output.frames[keep], output.counts[keep])
    first = multi_task(output._replace(values=output.values[:, :1], frames=output.frames[:, :, :1]),
                       partly[:, :1], KEYS[:1], HUBER)  # fmt: skip
    alone = multi_task(rest._replace(values=rest.values[:, :1], frames=rest.frames[:, :, :1]),
                       labels[keep, :1], KEYS[:1], HUBER)  # fmt: skip
    torch.testing.assert_close(first, alone)


def test_unknown_labels_give_no_gradient_and_no_nan(labels: torch.Tensor) -> None:
    frames = torch.randn(3, 5, 6, requires_grad=True)
    unknown = labels.clone()
    unknown[:, 2] = torch.nan
    torch.autograd.backward(multi_task(scored(frames, [5, 5, 5]), unknown, KEYS, HUBER))
    assert frames.grad is not None and bool(frames.grad.isfinite().all())
    assert not frames.grad[:, :, 2].any()
    assert bool(frames.grad[:, :, 0].any())


def test_loss_without_any_label_is_zero(output: Output) -> None:
    assert float(multi_task(output, torch.full((3, 6), torch.nan), KEYS, HUBER)) == 0.0


def test_pseudo_weight_scales_pesq_stoi_and_sdi_alone(output: Output, labels: torch.Tensor) -> None:
    def part(keys: set[str], weight: float) -> float:
        known = labels.clone()
        known[:, [key not in keys for key in KEYS]] = torch.nan
        return float(multi_task(output, known, KEYS, replace(HUBER, pseudo_weight=weight)))

    real, pseudo = ({target.key for target in group} for group in (QUEST, OBJECTIVE))
    assert part(real, 0.25) == part(real, 1.0) > 0
    assert part(pseudo, 0.25) == pytest.approx(0.25 * part(pseudo, 1.0)) and part(pseudo, 1.0) > 0
    assert part(pseudo, 0.0) == 0.0


def test_supervised_loss_weights_all_targets_equally(output: Output, labels: torch.Tensor) -> None:
    halved = replace(HUBER, pseudo_weight=0.5)
    assert supervised(KEYS, halved)(output, labels) == multi_task(output, labels, KEYS, HUBER)


def test_frame_weight_of_zero_uses_the_utterance_score_alone(output: Output, labels: torch.Tensor) -> None:
    alone = multi_task(output, labels, KEYS, replace(HUBER, frame_weight=0.0))
    torch.testing.assert_close(alone, distance(output.values - labels, HUBER).mean(dim=0).sum())


def test_semi_supervised_weight_decreases_over_the_run(output: Output, labels: torch.Tensor) -> None:
    fading = replace(HUBER, pseudo_weight=2.0, pseudo_fade=True)

    def at(progress: float) -> float:
        return float(multi_task(output, labels, KEYS, fading, progress))

    def with_weight(weight: float) -> float:
        return float(multi_task(output, labels, KEYS, replace(HUBER, pseudo_weight=weight)))

    assert at(0.0) == pytest.approx(with_weight(2.0), rel=1e-6)
    assert at(0.5) == pytest.approx(with_weight(1.0), rel=1e-6)
    assert at(1.0) == pytest.approx(with_weight(0.0), rel=1e-6)
    steady = multi_task(output, labels, KEYS, HUBER, 0.7)
    assert steady == multi_task(output, labels, KEYS, HUBER)
    assert supervised(KEYS, fading)(output, labels, progress=1.0) == steady


def test_clips_without_s_n_g_labels_contribute_through_their_pseudo_labels(labels: torch.Tensor) -> None:
    frames = torch.randn(3, 5, 6, requires_grad=True)
    partly = labels.clone()
    partly[1:, :3] = torch.nan
    torch.autograd.backward(multi_task(scored(frames, [5, 5, 5]), partly, KEYS, HUBER))
    assert frames.grad is not None
    assert bool((frames.grad[1:, :, :3] == 0).all()) and bool((frames.grad[1:, :, 3:] != 0).any())


def test_weights_multiply_the_loss_of_each_label_and_of_each_target(output: Output, labels: torch.Tensor) -> None:
    parts = [Output(output.values[[n]], output.frames[[n]], output.counts[[n]]) for n in range(3)]
    alone = [float(multi_task(part, labels[[n]], KEYS, HUBER)) for n, part in enumerate(parts)]
    weights = torch.tensor([2.0, 1.0, 0.0])[:, None].expand(3, 6)
    weighted = float(MultiTaskLoss(KEYS, HUBER)(output, labels, weights))
    assert weighted == pytest.approx((2 * alone[0] + alone[1]) / 3, rel=1e-5)
    one = MultiTaskLoss(KEYS, HUBER, target_weights=(0.0, 0.0, 2.0, 0.0, 0.0, 0.0))
    each, _ = one.per_clip(output, labels)
    torch.testing.assert_close(one(output, labels), 2 * each[:, 2].mean())


def test_the_rank_term_compares_clips_of_the_same_speech_alone(output: Output, labels: torch.Tensor) -> None:
    ranked = MultiTaskLoss(KEYS, LossConfig(rank_weight=0.5))
    plain = MultiTaskLoss(KEYS, LossConfig())(output, labels)
    torch.testing.assert_close(ranked(output, labels, speech=torch.tensor([1, 2, 3])), plain)
    error = (output.values - labels)[0] - (output.values - labels)[2]
    semi = torch.tensor([1.0 if key in {t.key for t in QUEST} else ranked.config.pseudo_weight for key in KEYS])
    expected = plain + 0.5 * (distance(error, HUBER) * semi).sum()
    torch.testing.assert_close(ranked(output, labels, speech=torch.tensor([7, 2, 7])), expected)


def test_the_rank_term_ignores_a_common_error_and_unknown_labels(output: Output) -> None:
    ranked, speech = MultiTaskLoss(KEYS, LossConfig(rank_weight=1.0)), torch.tensor([0, 0, 1])
    ones = torch.ones(3, len(KEYS))
    shifted = output.values + 0.7
    torch.testing.assert_close(
        ranked.of_pairs(output.values, shifted, ones, speech), torch.zeros(len(KEYS)), atol=1e-6, rtol=0
    )
    unknown = torch.full((3, len(KEYS)), torch.nan)
    assert ranked.of_pairs(output.values, unknown, ones, speech).tolist() == [0.0] * len(KEYS)
