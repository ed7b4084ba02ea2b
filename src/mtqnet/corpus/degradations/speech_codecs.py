"""Speech codecs of C libraries (by ctypes), Python packages and programs, and an own implementation of CVSD.

| step | standard | implementation |
|---|---|---|
| GsmFr | GSM full rate, ETSI GSM 06.10, 13 kbit/s, narrowband | libgsm (own permissive licence, TU Berlin) |
| G729 | ITU-T G.729 Annex A, 8 kbit/s, narrowband | bcg729 (GPL-3) |
| Lpc10 | LPC-10e, FED-STD-1015, 2.4 kbit/s, narrowband | SpanDSP (LGPL-2.1) |
| Speex | Speex, narrowband and wideband | libspeex (BSD) |
| AmrWb | ITU-T G.722.2, wideband | vo-amrwbenc and opencore-amrwb (Apache-2.0) |
| Lc3 | LC3 (Bluetooth LE Audio) | Google's liblc3 in the package lc3py (Apache-2.0) |
| Silk | SILK as in Skype (SDK version 3) | package pysilk-mod (MIT; SILK SDK: BSD-like, Skype) |
| Codec2 | Codec 2, 0.7 to 3.2 kbit/s, narrowband | programs c2enc and c2dec (LGPL-2.1), Debian package codec2 |
| Siren | Siren 7, the base of ITU-T G.722.1, 16 kbit/s, wideband | GStreamer's sirenenc and sirendec (LGPL) |
| Cvsd | Bluetooth core specification, volume 2, part B, section 9.2 | own |

The build works without any of them: `mtqnet corpus build --without G729`."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from ctypes import c_int, c_uint8, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mtqnet.audio.resampling import SAMPLE_RATE, resample
from mtqnet.corpus.degradations.step import (
    FULL_SCALE,
    NARROWBAND,
    NarrowbandCoding,
    Need,
    Pcm,
    PcmCoding,
    as_float,
    as_int16,
    either,
    in_frames,
    library,
    module,
    one_of,
    package,
    shared_library,
    whole,
)
from mtqnet.errors import CorpusError, MissingExtraError


@dataclass(frozen=True)
class GsmFr(NarrowbandCoding):
    """GSM full rate."""

    NEEDS = (library("libgsm.so.1"),)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        gsm = shared_library("libgsm.so.1")
        gsm.gsm_create.restype = c_void_p
        gsm.gsm_destroy.argtypes = (c_void_p,)
        gsm.gsm_encode.argtypes = gsm.gsm_decode.argtypes = (c_void_p, c_void_p, c_void_p)
        frames = np.ascontiguousarray(in_frames(pcm, 160))
        out, packet = np.zeros_like(frames), create_string_buffer(33)
        encoder, decoder = gsm.gsm_create(), gsm.gsm_create()
        try:
            for source, target in zip(frames, out, strict=True):
                gsm.gsm_encode(encoder, source.ctypes.data, packet)
                gsm.gsm_decode(decoder, packet, target.ctypes.data)
        finally:
            gsm.gsm_destroy(encoder)
            gsm.gsm_destroy(decoder)
        return out.reshape(-1)


@dataclass(frozen=True)
class G729(NarrowbandCoding):
    """ITU-T G.729 Annex A."""

    DELAY = 80
    NEEDS = (library("libbcg729.so.0"),)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        bcg = shared_library("libbcg729.so.0")
        bcg.initBcg729EncoderChannel.restype = bcg.initBcg729DecoderChannel.restype = c_void_p
        bcg.initBcg729EncoderChannel.argtypes = (c_uint8,)
        bcg.bcg729Encoder.argtypes = (c_void_p,) * 4
        bcg.bcg729Encoder.restype = bcg.bcg729Decoder.restype = None
        bcg.bcg729Decoder.argtypes = (c_void_p, c_void_p, c_uint8, c_uint8, c_uint8, c_uint8, c_void_p)
        bcg.closeBcg729EncoderChannel.argtypes = bcg.closeBcg729DecoderChannel.argtypes = (c_void_p,)
        frames = np.ascontiguousarray(in_frames(pcm, 80))
        out, packet, size = np.zeros_like(frames), create_string_buffer(10), c_uint8(0)
        encoder, decoder = bcg.initBcg729EncoderChannel(0), bcg.initBcg729DecoderChannel()
        try:
            for source, target in zip(frames, out, strict=True):
                bcg.bcg729Encoder(encoder, source.ctypes.data, packet, ctypes.byref(size))
                bcg.bcg729Decoder(decoder, packet, size.value, 0, 0, 0, target.ctypes.data)
        finally:
            bcg.closeBcg729EncoderChannel(encoder)
            bcg.closeBcg729DecoderChannel(decoder)
        return out.reshape(-1)


LPC10_FRAME, LPC10_PACKET = 180, 7
"""Samples at 8 kHz (22.5 ms), and bytes"""


@dataclass(frozen=True)
class Lpc10(NarrowbandCoding):
    """LPC-10e: pitch, voicing, energy and ten reflection coefficients for each frame."""

    DELAY = 1720  # of the envelopes: a vocoder keeps no waveform
    NEEDS = (library("libspandsp.so.2"),)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        dsp = shared_library("libspandsp.so.2")
        dsp.lpc10_encode_init.restype = dsp.lpc10_decode_init.restype = c_void_p
        dsp.lpc10_encode_init.argtypes = dsp.lpc10_decode_init.argtypes = (c_void_p, c_int)
        dsp.lpc10_encode.argtypes = dsp.lpc10_decode.argtypes = (c_void_p, c_void_p, c_void_p, c_int)
        dsp.lpc10_encode_free.argtypes = dsp.lpc10_decode_free.argtypes = (c_void_p,)
        frames = in_frames(pcm, LPC10_FRAME)
        given = np.ascontiguousarray(frames.reshape(-1))
        out, packets = np.zeros_like(given), create_string_buffer(LPC10_PACKET * len(frames))
        encoder, decoder = dsp.lpc10_encode_init(None, 0), dsp.lpc10_decode_init(None, 0)
        try:
            size = dsp.lpc10_encode(encoder, packets, given.ctypes.data, len(given))
            dsp.lpc10_decode(decoder, out.ctypes.data, packets, size)
        finally:
            dsp.lpc10_encode_free(encoder)
            dsp.lpc10_decode_free(decoder)
        return out


SET_ENHANCEMENT, SET_QUALITY, SET_COMPLEXITY = 0, 4, 16
"""Requests of speex_encoder_ctl and speex_decoder_ctl (speex.h)"""
BITS, LARGEST = 64, 256
"""Bytes for the structure SpeexBits, which has 40, and for a packet"""


@dataclass(frozen=True)
class Speex(PcmCoding):
    """Speex, narrowband or wideband."""

    quality: int
    """0 to 10: 2.2 to 24.6 kbit/s narrowband, 4 to 42 kbit/s wideband"""
    rate_hz: int
    """8000 or 16000"""

    NEEDS = (library("libspeex.so.1"),)

    @classmethod
    def parameters(cls, rng: np.random.Generator) -> tuple[Any, ...]:
        rate = NARROWBAND if rng.random() < 0.4 else SAMPLE_RATE
        return int(rng.integers(0, 9)), rate

    @property
    def delay(self) -> int:
        return 160 if self.rate_hz == NARROWBAND else 223

    @property
    def sample_rate(self) -> int:
        return self.rate_hz

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        speex = shared_library("libspeex.so.1")
        for function in (speex.speex_lib_get_mode, speex.speex_encoder_init, speex.speex_decoder_init):
            function.restype = c_void_p
        speex.speex_encoder_init.argtypes = speex.speex_decoder_init.argtypes = (c_void_p,)
        speex.speex_encoder_ctl.argtypes = speex.speex_decoder_ctl.argtypes = (c_void_p, c_int, c_void_p)
        speex.speex_encode_int.argtypes = (c_void_p, c_void_p, c_void_p)
        speex.speex_decode_int.argtypes = (c_void_p, c_void_p, c_void_p)
        speex.speex_encoder_destroy.argtypes = speex.speex_decoder_destroy.argtypes = (c_void_p,)
        mode = speex.speex_lib_get_mode(0 if self.rate_hz == NARROWBAND else 1)
        bits, packet = create_string_buffer(BITS), create_string_buffer(LARGEST)
        frames = np.ascontiguousarray(in_frames(pcm, self.rate_hz // 50))
        out = np.zeros_like(frames)
        encoder, decoder = speex.speex_encoder_init(mode), speex.speex_decoder_init(mode)
        speex.speex_bits_init(bits)
        try:
            for request, value in ((SET_QUALITY, self.quality), (SET_COMPLEXITY, 3)):
                speex.speex_encoder_ctl(encoder, request, ctypes.byref(c_int(value)))
            speex.speex_decoder_ctl(decoder, SET_ENHANCEMENT, ctypes.byref(c_int(1)))
            for source, target in zip(frames, out, strict=True):
                speex.speex_bits_reset(bits)
                speex.speex_encode_int(encoder, source.ctypes.data, bits)
                size = speex.speex_bits_write(bits, packet, LARGEST)
                speex.speex_bits_read_from(bits, packet, size)
                speex.speex_decode_int(decoder, bits, target.ctypes.data)
        finally:
            speex.speex_bits_destroy(bits)
            speex.speex_encoder_destroy(encoder)
            speex.speex_decoder_destroy(decoder)
        return out.reshape(-1)


AMR_WB_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
"""kbit/s of the modes 0 to 8 (3GPP TS 26.171)"""
AMR_WB_FRAME, AMR_WB_LARGEST = 320, 64
"""Samples, 20 ms, and bytes; a frame of the highest mode has 61."""


@dataclass(frozen=True)
class AmrWb(PcmCoding):
    """AMR wideband."""

    kbps: float = one_of(*AMR_WB_KBPS)

    DELAY = 95
    NEEDS = (library("libvo-amrwbenc.so.0"), library("libopencore-amrwb.so.0"))

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        packets = self.encoded(pcm)
        decoder = shared_library("libopencore-amrwb.so.0")
        decoder.D_IF_init.restype = c_void_p
        decoder.D_IF_decode.argtypes = (c_void_p, ctypes.c_char_p, c_void_p, c_int)
        decoder.D_IF_exit.argtypes = (c_void_p,)
        out, state = np.zeros((len(packets), AMR_WB_FRAME), np.int16), decoder.D_IF_init()
        try:
            for packet, frame in zip(packets, out, strict=True):
                decoder.D_IF_decode(state, packet, frame.ctypes.data, 0)
        finally:
            decoder.D_IF_exit(state)
        return out.reshape(-1)

    def encoded(self, pcm: Pcm) -> list[bytes]:
        """One packet for each frame of 20 ms: a byte with the mode and the coded bits (RFC 4867 storage)."""
        encoder, mode = shared_library("libvo-amrwbenc.so.0"), AMR_WB_KBPS.index(self.kbps)
        encoder.E_IF_init.restype = c_void_p
        encoder.E_IF_encode.argtypes = (c_void_p, ctypes.c_short, c_void_p, c_void_p, ctypes.c_short)
        encoder.E_IF_exit.argtypes = (c_void_p,)
        state, packet, packets = encoder.E_IF_init(), create_string_buffer(AMR_WB_LARGEST), []
        try:
            for frame in np.ascontiguousarray(in_frames(pcm, AMR_WB_FRAME)):
                size = encoder.E_IF_encode(state, mode, frame.ctypes.data, packet, 0)
                packets.append(packet.raw[:size])
        finally:
            encoder.E_IF_exit(state)
        return packets


@dataclass(frozen=True)
class Lc3(PcmCoding):
    """LC3 at 16 kHz."""

    kbps: int = one_of(16, 20, 24, 32, 48, 64)
    frame_ms: float = either(0.4, 7.5, 10.0)

    NEEDS = (package("lc3"),)

    @property
    def delay(self) -> int:
        return 40 if self.frame_ms == 10 else 64

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        lc3, microseconds = module("lc3"), round(1000 * self.frame_ms)
        encoder, decoder = (kind(microseconds, SAMPLE_RATE) for kind in (lc3.Encoder, lc3.Decoder))
        size = encoder.get_frame_bytes(1000 * self.kbps)
        frames = in_frames(pcm, encoder.get_frame_samples())
        packets = [encoder.encode(frame.tobytes(), size, bit_depth=16) for frame in frames]
        return np.frombuffer(b"".join(bytes(decoder.decode(p, bit_depth=16)) for p in packets), np.int16)


@dataclass(frozen=True)
class Silk(PcmCoding):
    """SILK at 16 kHz."""

    kbps: int = whole(6, 24)

    NEEDS = (package("pysilk"),)

    @property
    def delay(self) -> int:
        """SILK codes 16, 12 or 8 kHz inside, depending on the bit rate."""
        return 80 if self.kbps >= 14 else 90 if self.kbps >= 10 else 88

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        silk = module("pysilk")
        given = np.pad(pcm, (640, 0)).tobytes()  # the decoder loses the first frame
        packets = silk.encode(given, 1000 * self.kbps, sample_rate=SAMPLE_RATE)
        return np.frombuffer(silk.decode(packets, sample_rate=SAMPLE_RATE), np.int16)


INSTALL_CODEC2 = "apt-get install codec2"
INSTALL_SIREN = "apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-bad"
LONGEST_S = 120
"""Seconds for one clip; programs take a fraction of a second"""


def run_program(command: Sequence[str], given: bytes, install: str) -> bytes:
    """Standard output of a program. Raises MissingExtraError if it is not installed, CorpusError if it fails."""
    if shutil.which(command[0]) is None:
        raise MissingExtraError(f"{command[0]} is not installed: {install}")
    done = subprocess.run(command, input=given, capture_output=True, timeout=LONGEST_S)
    if done.returncode:
        raise CorpusError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def samples_from(output: bytes) -> Pcm:
    """16-bit samples of a program's output."""
    return np.frombuffer(output[: len(output) // 2 * 2], np.int16)


@dataclass(frozen=True)
class Codec2(NarrowbandCoding):
    """Codec 2: a sinusoidal vocoder of digital radio.

    It is called as a program, because its decoder draws phases from a generator that lives as long as the process:
    only a new process returns the same samples again.
    """

    bps: int = one_of(3200, 2400, 1600, 1300, 700)
    """700 is mode 700C."""

    NEEDS = (Need("c2enc", INSTALL_CODEC2, lambda: bool(shutil.which("c2enc") and shutil.which("c2dec"))),)

    @property
    def delay(self) -> int:
        """Of the envelopes: a vocoder keeps no waveform."""
        return 464 if self.bps == 700 else 296

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        mode = "700C" if self.bps == 700 else str(self.bps)
        whole = np.pad(pcm, (0, -len(pcm) % 320))  # c2enc drops a last frame that is not whole
        bits = run_program(("c2enc", mode, "-", "-"), whole.tobytes(), INSTALL_CODEC2)
        return samples_from(run_program(("c2dec", mode, "-", "-"), bits, INSTALL_CODEC2))


PIPELINE = (
    f"fdsrc fd=0 ! rawaudioparse format=pcm pcm-format=s16le sample-rate={SAMPLE_RATE} num-channels=1 "
    "! sirenenc ! sirendec ! fdsink fd=1"
)


@lru_cache(maxsize=1)
def has_siren() -> bool:
    """Whether GStreamer and its Siren elements are installed."""
    if not (shutil.which("gst-launch-1.0") and shutil.which("gst-inspect-1.0")):
        return False
    command = ("gst-inspect-1.0", "--exists", "sirenenc")
    return subprocess.run(command, capture_output=True, timeout=LONGEST_S).returncode == 0


@dataclass(frozen=True)
class Siren(PcmCoding):
    """Siren 7: a transform codec of video conferences and messengers."""

    DELAY = 320
    NEEDS = (Need("sirenenc", INSTALL_SIREN, has_siren),)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        command = ("gst-launch-1.0", "-q", *PIPELINE.split())
        return samples_from(run_program(command, pcm.tobytes(), INSTALL_SIREN))


BLUETOOTH_KBPS = 64
"""kbit/s of the specification; lower rates have the same time constants, and steps that grow as the rate falls"""
LEAK, STEP_DECAY = 1 - 1 / 32, 1 - 1 / 1024
"""Decay of the accumulator and of the step for each bit at 64 kbit/s"""
SMALLEST_STEP, LARGEST_STEP = 10.0, 1280.0
"""Steps at 64 kbit/s, 16-bit scale"""


@dataclass(frozen=True)
class Cvsd(NarrowbandCoding):
    """CVSD, narrowband: one bit for each sample."""

    kbps: int = one_of(16, 32, 64)

    def transcode_pcm(self, pcm: Pcm) -> Pcm:
        rate = 1000 * self.kbps
        given = FULL_SCALE * resample(as_float(pcm), NARROWBAND, rate)
        decoded = np.array(self._followed(given.tolist()), np.float32) / np.float32(FULL_SCALE)
        return as_int16(resample(decoded, rate, NARROWBAND))

    def _followed(self, samples: list[float]) -> list[float]:
        """What the decoder makes of the bits: an accumulator that follows the samples in steps up or down."""
        slower = BLUETOOTH_KBPS / self.kbps
        leak, decay = LEAK**slower, STEP_DECAY**slower
        smallest, largest = SMALLEST_STEP * slower, LARGEST_STEP * slower
        run = 4 if self.kbps >= 32 else 3  # equal bits after which the step grows; 3 as in MIL-STD-188-113
        full = (1 << run) - 1
        accumulator, step, history, out = 0.0, smallest, 0, []
        for sample in samples:
            up = sample >= accumulator
            history = (history << 1 | up) & full
            step = min(step + smallest, largest) if history in (0, full) else max(step * decay, smallest)
            accumulator += step if up else -step
            accumulator = min(max(accumulator, -FULL_SCALE), FULL_SCALE - 1) * leak
            out.append(accumulator)
        return out
