"""Labels of parts of a clip: causes from recipes, and pieces of other clips."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from mtqnet.causes import CAUSE_KEYS
from mtqnet.training.batches import PartLabels, mean_level, with_pieces
from mtqnet.training.config import LossConfig
from mtqnet.training.data import causes_of, parts_of
from mtqnet.training.losses import MultiTaskLoss, cause_loss, pooled_probability
from mtqnet.training.model import Output

NAN = float("nan")


def row(*steps: dict[str, Any], snr_db: float | None = 60.0) -> dict[str, Any]:
    return {"recipe": json.dumps({"steps": steps}), "equivalent_snr_db": snr_db}


def causes(*steps: str, snr_db: float = NAN) -> dict[str, float]:
    return dict(zip(CAUSE_KEYS, causes_of(steps, snr_db), strict=True))


def test_causes_follow_from_the_steps() -> None:
    found = causes("SimulatedRoom", "RecordedNoise", "RnNoise", "AmrNb", "FrameLoss", snr_db=12)
    assert found == {
        "noise": 1, "reverberation": 1, "clipping": 0, "band_limitation": 1, "coding": 1, "packet_loss": 1,
        "suppression": 1,
    }  # fmt: skip
    assert not any(causes("Playback").values())


@pytest.mark.parametrize(("snr_db", "noise"), [(20, 1), (45, 0)])
def test_inaudible_noise_is_no_cause(snr_db: float, noise: float) -> None:
    assert causes("RecordedNoise", snr_db=snr_db)["noise"] == noise


def test_barely_audible_noise_and_codecs_of_unknown_bandwidth_are_unknown() -> None:
    assert np.isnan(causes("RecordedNoise", snr_db=35)["noise"])
    assert np.isnan(causes("Opus")["band_limitation"])


def test_a_splice_separates_the_causes_inside_and_outside() -> None:
    splice = {"step": "Splice", "start_s": 1.0, "end_s": 2.5, "kind": "degraded", "steps": [{"step": "Clipping"}]}
    found = parts_of([row({"step": "G711"}, splice), row({"step": "G711"}), row({**splice, "kind": "good"})])
    clipping, coding = CAUSE_KEYS.index("clipping"), CAUSE_KEYS.index("coding")
    assert found.span_s.tolist() == [[1.0, 2.5], [0.0, 0.0], [1.0, 2.5]]
    assert found.inside[:, clipping].tolist() == [1, 0, 0]
    assert found.outside[:, clipping].tolist() == [0, 0, 1]
    assert found.inside[0, coding] == found.outside[0, coding] == 1
    np.testing.assert_array_equal(found.take(np.array([2])).span_s, [[1.0, 2.5]])


def batch(clips: int = 6, rows: int = 448) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, PartLabels]:
    rng = np.random.default_rng(0)
    logmel = torch.from_numpy(rng.normal(-4, 1, (clips, rows, 80)).astype(np.float32))
    labels = torch.from_numpy(rng.uniform(-2, 2, (clips, 2)).astype(np.float32))
    kinds = torch.from_numpy(rng.integers(0, 2, (clips, len(CAUSE_KEYS))).astype(np.float32))
    whole = PartLabels(torch.zeros(clips, 2), labels, labels, kinds, kinds, rows / 100)
    return logmel, torch.full((clips,), rows * 160), labels, whole


def test_a_mixed_clip_has_the_labels_of_both_clips_at_their_places() -> None:
    logmel, samples, labels, whole = batch()
    views, mixed, found = with_pieces({"logmel": logmel}, samples, labels, whole, 1.0, np.random.default_rng(1))
    changed = (found.span_s[:, 1] > 0).tolist()
    assert sum(changed) >= 3
    for clip, was in enumerate(changed):
        differing = (views["logmel"][clip] != logmel[clip]).any(dim=1).nonzero()[:, 0]
        assert torch.isnan(mixed[clip]).all() == was
        if not was:
            assert not len(differing)
            continue
        start, stop = (round(second * 100) for second in found.span_s[clip].tolist())
        assert (int(differing[0]), int(differing[-1]) + 1) == (start, stop)
        donor = int((whole.outside == found.inside[clip]).all(dim=1).nonzero()[0])
        assert donor != clip and torch.equal(found.causes_inside[clip], whole.causes_outside[donor])
        level = mean_level(views["logmel"], samples)[clip] - mean_level(logmel, samples)[clip]
        assert abs(float(level)) < 0.05
    assert torch.equal(found.outside, whole.outside) and not torch.isnan(labels).any()


def test_clips_with_a_splice_are_not_mixed() -> None:
    logmel, samples, labels, whole = batch()
    whole.span_s[:, 1] = 1.0
    views, mixed, _ = with_pieces({"logmel": logmel}, samples, labels, whole, 1.0, np.random.default_rng(1))
    assert torch.equal(views["logmel"], logmel) and torch.equal(mixed, labels)


def test_frames_are_compared_with_the_label_of_their_part() -> None:
    _, _, labels, whole = batch(1, 80)
    found = PartLabels(
        torch.tensor([[0.16, 0.4]]), labels, labels + 1, whole.causes_outside, whole.causes_inside, 0.8
    )
    frames = labels[:, None, :].repeat(1, 10, 1)
    frames[:, 2:5] += 1
    output = Output(labels, frames, torch.tensor([10]))
    loss = MultiTaskLoss(("s_mos", "n_mos"), LossConfig())
    nothing = torch.full_like(labels, NAN)
    assert loss(output, nothing, parts=found) == pytest.approx(0, abs=1e-7)
    assert loss(output, nothing, parts=whole) > 0.05


def test_unknown_parts_leave_the_label_of_the_clip() -> None:
    _, _, labels, whole = batch(2, 80)
    unknown = torch.full_like(labels, NAN)
    found = PartLabels(whole.span_s, unknown, unknown, whole.causes_outside, whole.causes_inside, 0.8)
    output = Output(labels + 1, torch.zeros(2, 10, 2), torch.tensor([10, 10]))
    each, known = MultiTaskLoss(("s_mos", "n_mos"), LossConfig(delta=1.0)).per_clip(output, labels, found)
    torch.testing.assert_close(each, torch.full_like(each, 0.5))
    assert known.all()


def test_cause_loss_is_low_for_the_right_frames_and_ignores_padding_and_places_of_events() -> None:
    causes_in = torch.zeros(1, len(CAUSE_KEYS))
    causes_in[0, CAUSE_KEYS.index("noise")] = 1
    causes_in[0, CAUSE_KEYS.index("packet_loss")] = 1
    outside = torch.zeros_like(causes_in)
    labels = torch.zeros(1, 1)
    part = PartLabels(torch.tensor([[0.16, 0.4]]), labels, labels, outside, causes_in, 0.8)
    logits = torch.full((1, 10, len(CAUSE_KEYS)), -12.0)
    logits[0, 2:5, CAUSE_KEYS.index("noise")] = 12.0
    logits[0, 3, CAUSE_KEYS.index("packet_loss")] = 12.0  # one of the frames of the part: an event
    right = cause_loss(logits, torch.tensor([8]), part)
    assert right < 1e-3
    logits[0, 8:] = 12.0
    assert torch.equal(cause_loss(logits, torch.tensor([8]), part), right)
    logits[0, 6, CAUSE_KEYS.index("noise")] = 12.0
    assert cause_loss(logits, torch.tensor([8]), part) > 0.1


def test_pooling_is_the_mean_of_the_probabilities_weighted_by_themselves() -> None:
    p = torch.tensor([[[0.9], [0.1], [0.5]]])
    valid = torch.tensor([[[1.0], [1.0], [0.0]]])
    assert float(pooled_probability(torch.logit(p), valid)) == pytest.approx((0.81 + 0.01) / 1.0)
