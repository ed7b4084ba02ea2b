"""The network: the score of a clip does not depend on its batch; sizes are those of MOSA-Net."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, OBJECTIVE
from mtqnet.training.batches import Dataset, collate
from mtqnet.training.config import NetworkConfig
from mtqnet.training.losses import MultiTaskLoss
from mtqnet.training.model import Distance, Network

LENGTHS = (9_000, 5_123, 6_400, 7_007)


@pytest.fixture(params=tiny.KINDS)
def kind(request: pytest.FixtureRequest) -> NetworkConfig:
    return tiny.KINDS[request.param]


def test_clip_scores_the_same_alone_and_in_a_batch(kind: NetworkConfig) -> None:
    net = tiny.network(kind)
    clips = [tiny.clip(kind, samples, seed) for seed, samples in enumerate(LENGTHS)]
    together = tiny.outputs(net, clips)
    for index, clip in enumerate(clips):
        alone = tiny.outputs(net, [clip])
        frames = int(alone.counts[0])
        assert int(together.counts[index]) == frames
        torch.testing.assert_close(together.values[index], alone.values[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.frames[index, :frames], alone.frames[0, :frames], atol=1e-5, rtol=0)


def test_padding_has_no_influence(kind: NetworkConfig) -> None:
    """Even if it is not zero, as after a change of level."""
    net = tiny.network(kind)
    clips = [tiny.clip(kind, samples, seed) for seed, samples in enumerate(LENGTHS)]
    batch = collate(Dataset(clips, {}), np.arange(len(clips)), ())
    rows = {name: [len(clip.features[name]) for clip in clips] for name in clips[0].features}
    dirty = {name: value.clone() for name, value in batch.inputs.items()}
    for name, counts in rows.items():
        for index, count in enumerate(counts):
            dirty[name][index, count:] = 3.0
    with torch.inference_mode():
        torch.testing.assert_close(
            net(dirty, batch.samples).values, net(batch.inputs, batch.samples).values, atol=1e-5, rtol=0
        )


def test_frames_and_scores_have_the_documented_shapes(kind: NetworkConfig) -> None:
    output = tiny.outputs(tiny.network(kind), [tiny.clip(kind, n, n) for n in LENGTHS])
    assert output.values.shape == (4, 6)
    assert output.frames.shape[0] == 4 and output.frames.shape[1] >= int(output.counts.max())
    assert output.frames.shape[2] == 6
    for clip in range(4):
        assert not output.frames[clip, int(output.counts[clip]) :].any()


def test_score_of_a_clip_is_the_mean_of_its_frame_scores(kind: NetworkConfig) -> None:
    output = tiny.outputs(tiny.network(kind), [tiny.clip(kind, n, n) for n in LENGTHS])
    for values, frames, count in zip(output.values, output.frames, output.counts, strict=True):
        torch.testing.assert_close(values, frames[: int(count)].mean(dim=0))


@pytest.mark.parametrize("samples", [5_000, 5_120, 6_399, 6_400, 6_401])
def test_frame_counts_follow_from_the_length(samples: int) -> None:
    rows = samples // 160
    channel = tiny.outputs(tiny.network(tiny.CHANNEL), [tiny.clip(tiny.CHANNEL, samples)])
    assert int(channel.counts[0]) == -(-rows // 4)
    spectrum = tiny.outputs(tiny.network(tiny.SPECTRUM), [tiny.clip(tiny.SPECTRUM, samples)])
    assert int(spectrum.counts[0]) == min(samples // 256 + 1, -(-rows // 2))


def test_every_weight_has_a_gradient(kind: NetworkConfig) -> None:
    net = tiny.network(kind).train()
    data = tiny.dataset(kind, 3)
    batch = collate(data, np.arange(3), KEYS)
    torch.autograd.backward(
        MultiTaskLoss(KEYS, tiny.config().loss)(net(batch.inputs, batch.samples), batch.labels)
    )
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # A head's bias changes all energies of a frame equally, which softmax removes (the released code has it).
    assert all(name.startswith("heads.") and name.endswith(".bias") and "score" not in name for name in still)


def test_lstm_uses_both_directions() -> None:
    """The first frame of the LSTM depends on the end of the clip, the last frame on its beginning."""
    net = tiny.network(tiny.PLAIN)
    x, count = torch.randn(1, 9, 15), torch.tensor([9])
    for changed, far, units in ((0, 8, slice(0, 6)), (8, 0, slice(6, 12))):
        other = x.clone()
        other[0, changed] += 1
        with torch.inference_mode():
            moved = (net.lstm(other, count) - net.lstm(x, count)).abs()[0]
        assert float(moved[far, units].max()) > 0


def test_features_are_the_front_ends() -> None:
    assert tiny.network(tiny.SPECTRUM).features == ("spectrum", "encoder")
    assert tiny.network(tiny.CHANNEL).features == ("logmel", "encoder")


def test_front_ends_with_different_numbers_of_bands_are_refused() -> None:
    with pytest.raises(UsageError, match="choose one of them"):
        Network(replace(tiny.PLAIN, front_ends=("logmel", "spectrum")), KEYS)


def test_network_has_mosa_nets_trunk_and_heads() -> None:
    """BLSTM 128, dense 128 and one attention head per target, as in the released network."""
    config = NetworkConfig(front_ends=("encoder",), adapter=512, lstm=128, dense=128)
    net = Network(config, tuple(target.key for target in OBJECTIVE), 1024)
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    assert size["branches"] == 524_800 and size["lstm"] == 657_408
    assert size["dense"] == 32_896 and size["heads"] == 49_542


def test_distance_is_about_one_for_training_clips_and_larger_for_others() -> None:
    torch.manual_seed(0)
    clips = torch.randn(2000, 8) @ torch.randn(8, 8) + 3
    distance = Distance(8)
    distance.fit(clips)
    assert distance(clips).mean() == pytest.approx(1.0, abs=0.1)
    assert distance(clips[:5] + 20).min() > 3
