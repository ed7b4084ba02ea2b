"""The family: what a clip scores does not depend on its batch, and the paper's network is the paper's size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from mtqnet.errors import UsageError
from mtqnet.targets import KEYS, OBJECTIVE, TRAINING_SPAN
from mtqnet.training.config import NetworkConfig, load
from mtqnet.training.dataset import Dataset, collate
from mtqnet.training.losses import multi_task
from mtqnet.training.network import Network

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LENGTHS = (9_000, 5_123, 6_400, 7_007)


@pytest.fixture(params=tiny.KINDS)
def kind(request: pytest.FixtureRequest) -> NetworkConfig:
    return tiny.KINDS[request.param]


def test_clip_scores_the_same_alone_and_in_a_batch(kind: NetworkConfig) -> None:
    net = tiny.network(kind)
    clips = [tiny.clip(kind, samples, seed) for seed, samples in enumerate(LENGTHS)]
    together = tiny.outputs(net, clips)
    for place, clip in enumerate(clips):
        alone = tiny.outputs(net, [clip])
        frames = int(alone.counts[0])
        assert int(together.counts[place]) == frames
        torch.testing.assert_close(together.values[place], alone.values[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.frames[place, :frames], alone.frames[0, :frames], atol=1e-5, rtol=0)


def test_what_stands_in_the_padding_moves_nothing(kind: NetworkConfig) -> None:
    """Not even where it is not zero, as after a change of level."""
    net = tiny.network(kind)
    clips = [tiny.clip(kind, samples, seed) for seed, samples in enumerate(LENGTHS)]
    batch = collate(Dataset(clips, {}), np.arange(len(clips)), ())
    rows = {name: [len(clip.features[name]) for clip in clips] for name in clips[0].features}
    dirty = {name: value.clone() for name, value in batch.inputs.items()}
    for name, counts in rows.items():
        if name == "wave":
            continue  # zeros after the samples are what the sinc filters rest on
        for place, count in enumerate(counts):
            dirty[name][place, count:] = 3.0
    with torch.inference_mode():
        torch.testing.assert_close(
            net(dirty, batch.samples).values, net(batch.inputs, batch.samples).values, atol=1e-5, rtol=0
        )


def test_frames_and_scores_have_the_shapes_promised(kind: NetworkConfig) -> None:
    said = tiny.outputs(tiny.network(kind), [tiny.clip(kind, n, n) for n in LENGTHS])
    assert said.values.shape == (4, 6)
    assert said.frames.shape[0] == 4 and said.frames.shape[1] >= int(said.counts.max())
    assert said.frames.shape[2] == 6
    for clip in range(4):
        assert not said.frames[clip, int(said.counts[clip]) :].any()


def test_score_of_a_clip_is_the_mean_of_its_frame_scores(kind: NetworkConfig) -> None:
    said = tiny.outputs(tiny.network(kind), [tiny.clip(kind, n, n) for n in LENGTHS])
    for values, frames, count in zip(said.values, said.frames, said.counts, strict=True):
        torch.testing.assert_close(values, frames[: int(count)].mean(dim=0))


@pytest.mark.parametrize("samples", [5_000, 5_120, 6_399, 6_400, 6_401])
def test_frame_counts_follow_from_the_length(samples: int) -> None:
    rows = samples // 160
    channel = tiny.outputs(tiny.network(tiny.CHANNEL), [tiny.clip(tiny.CHANNEL, samples)])
    assert int(channel.counts[0]) == -(-rows // 4)
    time = tiny.outputs(tiny.network(tiny.TIME), [tiny.clip(tiny.TIME, samples)])
    assert int(time.counts[0]) == (samples // 256 + 1) + -(-samples // 256) + -(-rows // 2)


def test_sigmoid_keeps_frame_scores_within_the_training_scale() -> None:
    net = tiny.network(replace(tiny.PLAIN, sigmoid=("stoi_est",)))
    for head in net.heads.values():
        torch.nn.init.constant_(head.score.bias, 50.0)  # type: ignore[arg-type, union-attr]
    said = tiny.outputs(net, [tiny.clip(tiny.PLAIN, 6_000)])
    bounded = KEYS.index("stoi_est")
    assert float(said.frames[..., bounded].abs().max()) <= TRAINING_SPAN / 2
    assert float(said.frames[..., 0].max()) > TRAINING_SPAN / 2, "the others are free"


def test_every_weight_learns(kind: NetworkConfig) -> None:
    net = tiny.network(kind).train()
    data = tiny.dataset(kind, 3)
    batch = collate(data, np.arange(3), KEYS)
    torch.autograd.backward(multi_task(net(batch.inputs, batch.samples), batch.labels, KEYS, tiny.config().loss))
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # A head's bias moves all energies of a frame alike, which its softmax does not see (the released code has it).
    assert all(name.startswith("heads.") and name.endswith(".bias") and "score" not in name for name in still)


def test_both_directions_of_time_are_heard() -> None:
    """The first frame of the LSTM knows the end of the clip, the last frame its beginning."""
    net = tiny.network(tiny.PLAIN)
    x, count = torch.randn(1, 9, 15), torch.tensor([9])
    for changed, far, units in ((0, 8, slice(0, 6)), (8, 0, slice(6, 12))):
        other = x.clone()
        other[0, changed] += 1
        with torch.inference_mode():
            moved = (net.lstm(other, count) - net.lstm(x, count)).abs()[0]
        assert float(moved[far, units].max()) > 0


def test_features_are_what_the_branches_need() -> None:
    assert tiny.network(tiny.TIME).features == ("spectrum", "wave", "encoder")
    assert tiny.network(tiny.CHANNEL).features == ("logmel", "encoder")


def test_branches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="equally wide"):
        Network(replace(tiny.TIME, adapter=21), KEYS, 5)
    with pytest.raises(UsageError, match="share no convolutions"):
        Network(replace(tiny.PLAIN, front_ends=("logmel", "spectrum")), KEYS)


def test_paper_network_has_the_size_of_mosa_net() -> None:
    """The released network, part by part: HuBERT-large gives 1024 numbers a frame, and there are three targets."""
    net = Network(load(CONFIGS / "paper.toml").network, tuple(target.key for target in OBJECTIVE), 1024)
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in net.named_children()}
    size = {name: numbers for name, numbers in parts.items() if numbers}
    assert size == {
        "images": 489_312,
        "branches": 524_800 + 514,
        "lstm": 657_408,
        "dense": 32_896,
        "heads": 49_542,
    }
    hidden_biases = 2 * 512  # counted in both: cuDNN and torch have two biases where one would do
    assert sum(size.values()) == 1_754_472 == 1_753_448 + hidden_biases


def test_paper_network_shrinks_257_bands_to_512_numbers() -> None:
    net = Network(load(CONFIGS / "paper.toml").network, KEYS, 8)
    assert net.images is not None
    assert net.images.width == 4 * 128
    assert len(net.images.layers) == 12
