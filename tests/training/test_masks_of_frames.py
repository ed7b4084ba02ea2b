"""Masks and counts of padded batches, compared with the result for each clip alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtqnet.training.model import frame_mask, masked_mean, pooled, reversed_within, strided

lengths = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def batch(counts: list[int], channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Random frames; the padding is not zero, so that its use is noticed."""
    x = torch.randn(len(counts), max(counts), channels, generator=torch.Generator().manual_seed(sum(counts)))
    return x, torch.tensor(counts)


def test_mask_is_one_for_frames_of_the_clip() -> None:
    mask = frame_mask(torch.tensor([0, 1, 3]), 3)
    assert mask.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_counts_after_a_stride_are_those_of_a_convolution(stride: int) -> None:
    for count in range(1, 40):
        row = torch.zeros(1, 1, count)
        frames = torch.nn.functional.conv1d(row, torch.zeros(1, 1, 3), stride=stride, padding=1).shape[2]
        assert int(strided(torch.tensor([count]), stride)[0]) == frames


@given(counts=lengths)
@settings(max_examples=30, deadline=None)
def test_masked_mean_is_the_mean_of_each_clip_alone(counts: list[int]) -> None:
    x, count = batch(counts)
    for row, clip, length in zip(masked_mean(x, count), x, counts, strict=True):
        torch.testing.assert_close(row, clip[:length].mean(dim=0))


@given(counts=lengths, size=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_pooled_frames_do_not_include_padding(counts: list[int], size: int) -> None:
    x, count = batch(counts)
    made, after = pooled(x, count, size)
    for row, clip, length, frames in zip(made, x, counts, after.tolist(), strict=True):
        groups = [group.mean(dim=0) for group in clip[:length].split(size)]
        assert frames == len(groups)
        torch.testing.assert_close(row[:frames], torch.stack(groups))
        assert not row[frames:].any(), "padding stays zero"


@given(counts=lengths)
@settings(max_examples=30, deadline=None)
def test_reversal_keeps_padding_at_the_end(counts: list[int]) -> None:
    x, count = batch(counts)
    turned = reversed_within(x, count)
    for row, clip, length in zip(turned, x, counts, strict=True):
        assert torch.equal(row[:length], clip[:length].flip(0))
        assert torch.equal(row[length:], clip[length:])
    assert torch.equal(reversed_within(turned, count), x)
