"""Which frames of a padded batch are real. The arithmetic of lengths, in one place."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_mask(counts: Tensor, frames: int) -> Tensor:
    """(batch,) counts -> (batch, frames) float: 1 for a real frame, 0 for padding."""
    return (torch.arange(frames, device=counts.device)[None, :] < counts[:, None]).to(torch.float32)


def halved(counts: Tensor, stride: int = 2) -> Tensor:
    """Counts after a 3-wide convolution with padding 1 and this stride: ceil(count / stride)."""
    return torch.div(counts + (stride - 1), stride, rounding_mode="floor")


def masked_mean(x: Tensor, counts: Tensor) -> Tensor:
    """(batch, frames, channels) -> (batch, channels): mean over real frames."""
    mask = frame_mask(counts, x.shape[1])[:, :, None]
    return (x * mask).sum(dim=1) / counts[:, None].to(x.dtype)


def pooled(x: Tensor, counts: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(batch, frames, channels) -> (batch, ceil(frames / size), channels): means of real frames in groups.

    The last group of a clip may be partial; it is the mean of what is there.
    """
    mask = frame_mask(counts, x.shape[1])[:, :, None]
    if size == 1:
        return x * mask, counts
    missing = -x.shape[1] % size
    x = torch.nn.functional.pad(x * mask, (0, 0, 0, missing))
    mask = torch.nn.functional.pad(mask, (0, 0, 0, missing))
    shape = (x.shape[0], x.shape[1] // size, size)
    total = x.reshape(*shape, x.shape[2]).sum(dim=2)
    return total / mask.reshape(*shape, 1).sum(dim=2).clamp(min=1.0), halved(counts, size)


def reversed_within(x: Tensor, counts: Tensor) -> Tensor:
    """(batch, frames, channels) with the real frames of each clip in reverse order; padding stays behind."""
    place = torch.arange(x.shape[1], device=x.device)[None, :]
    back = torch.where(place < counts[:, None], counts[:, None] - 1 - place, place)
    return torch.gather(x, 1, back[:, :, None].expand(-1, -1, x.shape[2]))
