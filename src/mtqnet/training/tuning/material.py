"""What a tuning learns from: pieces of sound with their targets, some said by listeners, some by the model itself.

    tuned heads    the listeners' ratings, each with its weight
    other heads    what the model says before it is tuned: the anchor, pseudo labels once more

Pieces of unlabelled audio carry the anchor alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtqnet.targets import named
from mtqnet.training import loop
from mtqnet.training.dataset import Dataset
from mtqnet.training.frontend import Clip
from mtqnet.training.network import Network

Array = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sound:
    """Pieces of recordings, ready for the network."""

    clips: Sequence[Clip]
    of: Places
    """(pieces,) recording that each is of"""
    shares: Array
    """(pieces,) weight of each in its recording's score"""
    recordings: int

    def pieces(self, recordings: Places) -> Places:
        """Places of the pieces of these recordings."""
        return np.flatnonzero(np.isin(self.of, recordings))


@dataclass(frozen=True)
class Material:
    """Rated recordings first, unlabelled ones behind them."""

    data: Dataset
    """Labels of all heads, (pieces,) each, in the target's own unit"""
    weights: Array
    """(pieces, heads): what each label counts"""
    sound: Sound
    """The rated recordings"""
    truth: Mapping[str, Array]
    """Ratings, (recordings,) by target; NaN where there is none"""
    trust: Mapping[str, Array]
    """Their weights"""
    tuned: tuple[str, ...]
    """Heads that learn from ratings"""
    unlabelled: Places
    """Pieces that carry the anchor alone"""


def material(
    network: Network,
    sound: Sound,
    labels: Mapping[str, Array],
    weights: Mapping[str, Array],
    tuned: tuple[str, ...],
    unlabelled: Sequence[Clip],
) -> Material:
    """Labels and weights of recordings, (recordings,) by target -> those of their pieces, and the anchor."""
    clips = [*sound.clips, *unlabelled]
    said = loop.predict(network, Dataset(clips, {}))
    without = np.full(len(unlabelled), np.nan)
    made: dict[str, Array] = {}
    counts = []
    for target in named(network.targets):
        if target.key in tuned:
            made[target.key] = np.concatenate([labels[target.key][sound.of], without])
            counts.append(
                np.concatenate([weights[target.key][sound.of] * sound.shares, np.zeros(len(unlabelled))])
            )
        else:
            made[target.key] = said[target.key].clip(target.low, target.high)
            counts.append(np.concatenate([sound.shares, np.ones(len(unlabelled))]))
    places = np.arange(len(sound.clips), len(clips))
    return Material(Dataset(clips, made), np.stack(counts, axis=1), sound, labels, weights, tuned, places)


def scores(network: Network, sound: Sound, recordings: Places) -> dict[str, Array]:
    """What the network says of these recordings, (recordings,) by target, as scoring would combine and clip it."""
    pieces = sound.pieces(recordings)
    said = loop.predict(network, Dataset([sound.clips[place] for place in pieces], {}))
    order = np.full(sound.recordings, -1)
    order[recordings] = np.arange(len(recordings))
    found = {}
    for target in named(network.targets):
        whole = np.zeros(len(recordings))
        np.add.at(whole, order[sound.of[pieces]], sound.shares[pieces] * said[target.key])
        found[target.key] = whole.clip(target.low, target.high)
    return found
