"""One kind of degradation per file. Each file contains frozen dataclasses, the steps: their fields are the parameters
that a recipe writes down, `draw` picks them from a random generator, and calling the step applies it.

STEPS lists them all by name, in the order of a real chain: room -> device -> noise -> front-end processing ->
coder -> network -> playback. The selection for a clip is defined in corpus/chain.py.
"""

from __future__ import annotations

from typing import Any

from mtqnet.corpus.degradations import (
    codec,
    device,
    distortion,
    events,
    generative,
    native_codecs,
    network,
    neural,
    noise,
    reducer,
    room,
    speech_codecs,
    tools,
    vocoder,
)
from mtqnet.corpus.degradations.packages import missing, require
from mtqnet.corpus.degradations.step import Step

STEPS: dict[str, Any] = {
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
        noise.Babble,
        noise.CompetingTalker,
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
        neural.DeepFilterNet,
        neural.UlUnas,
        neural.Hush,
        neural.ConvTasNet,
        neural.NeuralEnhancer,
        device.AutomaticGain,
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
        codec.AptX,
        codec.Wma,
        codec.Ac3,
        codec.Adpcm,
        codec.Dpcm,
        native_codecs.AmrWb,
        speech_codecs.Codec2,
        speech_codecs.Cvsd,
        native_codecs.G729,
        native_codecs.GsmFr,
        speech_codecs.Lc3,
        native_codecs.Lpc10,
        speech_codecs.Silk,
        speech_codecs.Siren,
        native_codecs.Speex,
        generative.LyraV2,
        generative.OpusNeural,
        vocoder.Resynthesis,
        generative.NeuralVocoder,
        network.FrameLoss,
        network.Jitter,
        device.Dropouts,
        network.Splice,
        device.Playback,
    )
}

__all__ = ["STEPS", "Step", "missing", "require"]
