"""One kind of damage a file. Each file holds frozen dataclasses, the steps: their fields are the parameters
that a recipe writes down, `draw` picks them from a random generator, and calling the step applies it.

STEPS lists them all by name, in the order of a real chain: room -> device -> noise -> front-end processing ->
coder -> network -> playback. Which of them a clip goes through is said in corpus/chain.py.
"""

from __future__ import annotations

from mtqnet.corpus.degradations import (
    codec,
    device,
    distortion,
    events,
    gain,
    network,
    neural,
    noise,
    reducer,
    room,
    talkers,
    tools,
    vocoder,
)
from mtqnet.corpus.degradations.packages import require
from mtqnet.corpus.degradations.step import Step

STEPS: dict[str, type[Step]] = {
    step.__name__: step
    for step in (
        room.MeasuredRoom,
        room.DecayRoom,
        room.SimulatedRoom,
        distortion.Mnru,
        device.Equaliser,
        device.DcOffset,
        noise.RecordedNoise,
        noise.WhiteNoise,
        noise.ColouredNoise,
        noise.ModulatedNoise,
        talkers.Babble,
        talkers.CompetingTalker,
        events.MainsHum,
        events.WindBursts,
        events.Clicks,
        events.NoiseSwing,
        reducer.SpectralGain,
        reducer.SpectralSubtraction,
        reducer.LogMmse,
        tools.NoiseReduce,
        tools.WebRtc,
        tools.SpeexDsp,
        neural.Nsnet2,
        neural.Dtln,
        neural.Gtcrn,
        neural.RnNoise,
        gain.AutomaticGain,
        device.BandLimit,
        device.TelephoneBand,
        distortion.Clipping,
        distortion.Overdrive,
        distortion.Quantisation,
        codec.Opus,
        codec.AmrNb,
        codec.G711,
        codec.G722,
        codec.G726,
        codec.G7231,
        codec.Mp3,
        codec.Aac,
        codec.Vorbis,
        codec.Sbc,
        codec.Mp2,
        codec.RealAudio,
        codec.Nellymoser,
        vocoder.Resynthesis,
        network.FrameLoss,
        network.Jitter,
        device.Dropouts,
        device.Playback,
    )
}

__all__ = ["STEPS", "Step", "require"]
