"""The loss of MPL: Huber as torch knows it, masks, unknown labels and weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mtqnet.targets import KEYS, OBJECTIVE, QUEST
from mtqnet.training.config import LossConfig
from mtqnet.training.losses import distance, multi_task, supervised
from mtqnet.training.network import Output

HUBER = LossConfig()


def scored(frames: torch.Tensor, counts: list[int]) -> Output:
    """Utterance scores are means of real frames, as in the network; padding is nonsense, so that it shows."""
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
def test_huber_is_that_of_torch(delta: float) -> None:
    error = torch.linspace(-5, 5, 101)
    expected = torch.nn.functional.huber_loss(error, torch.zeros(101), reduction="none", delta=delta)
    torch.testing.assert_close(distance(error, LossConfig(delta=delta)), expected)


def test_other_distances_are_square_and_absolute_error() -> None:
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


def test_perfect_scores_cost_nothing(labels: torch.Tensor) -> None:
    perfect = scored(labels[:, None, :].expand(3, 4, 6).clone(), [4, 2, 1])
    assert float(multi_task(perfect, labels, KEYS, HUBER)) == 0.0


def test_padding_counts_for_nothing(output: Output, labels: torch.Tensor) -> None:
    worse = output.frames.clone()
    worse[1, 2:] = 1e6
    padded = output._replace(frames=worse)
    assert multi_task(padded, labels, KEYS, HUBER) == multi_task(output, labels, KEYS, HUBER)


def test_unknown_labels_count_for_nothing(output: Output, labels: torch.Tensor) -> None:
    """A target of which one clip is unknown has the loss of the other clips."""
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


def test_no_label_at_all_costs_nothing(output: Output) -> None:
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


def test_supervised_loss_weighs_all_targets_alike(output: Output, labels: torch.Tensor) -> None:
    halved = replace(HUBER, pseudo_weight=0.5)
    assert supervised(output, labels, KEYS, halved) == multi_task(output, labels, KEYS, HUBER)


def test_frame_weight_of_zero_leaves_the_utterance_score(output: Output, labels: torch.Tensor) -> None:
    alone = multi_task(output, labels, KEYS, replace(HUBER, frame_weight=0.0))
    torch.testing.assert_close(alone, distance(output.values - labels, HUBER).mean(dim=0).sum())


def test_pseudo_part_fades_over_the_run(output: Output, labels: torch.Tensor) -> None:
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
    assert supervised(output, labels, KEYS, fading, 1.0) == steady


def test_clips_without_quest_labels_still_teach_by_their_pseudo_labels(labels: torch.Tensor) -> None:
    frames = torch.randn(3, 5, 6, requires_grad=True)
    partly = labels.clone()
    partly[1:, :3] = torch.nan
    torch.autograd.backward(multi_task(scored(frames, [5, 5, 5]), partly, KEYS, HUBER))
    assert frames.grad is not None
    assert bool((frames.grad[1:, :, :3] == 0).all()) and bool((frames.grad[1:, :, 3:] != 0).any())


def test_clip_weights_multiply_the_loss_of_each_clip() -> None:
    frames = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(1))
    output = scored(frames, [5, 5, 5])
    labels = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    alone = [
        float(multi_task(scored(frames[place : place + 1], [5]), labels[place : place + 1], KEYS, HUBER))
        for place in range(3)
    ]
    weights = torch.tensor([2.0, 1.0, 0.0])[:, None].expand(3, 6)
    weighted = float(multi_task(output, labels, KEYS, HUBER, weights=weights))
    assert weighted == pytest.approx((2 * alone[0] + alone[1]) / 3, rel=1e-5)
    assert float(multi_task(output, labels, KEYS, HUBER, weights=torch.ones(3, 6))) == pytest.approx(
        float(multi_task(output, labels, KEYS, HUBER)), rel=1e-6
    )
