"""One kind of damage a file. Each file holds frozen dataclasses, the steps: their fields are the parameters
that a recipe writes down, `draw` picks them from a random generator, and calling the step applies it.

STEPS lists them all by name, in the order of a real chain: room -> device -> noise -> front-end processing ->
network -> playback.
"""

from __future__ import annotations

from mtqnet.corpus.degrade import device, distortion, network, noise, reducer, room
from mtqnet.corpus.degrade.step import Step

STEPS: dict[str, type[Step]] = {
    step.__name__: step
    for step in (
        room.MeasuredRoom,
        room.DecayRoom,
        distortion.Mnru,
        noise.RecordedNoise,
        noise.WhiteNoise,
        noise.ColouredNoise,
        noise.Babble,
        reducer.SpectralGain,
        device.BandLimit,
        distortion.Clipping,
        network.FrameLoss,
        device.Playback,
    )
}
