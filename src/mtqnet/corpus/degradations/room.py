"""Rooms: speech through an impulse response whose direct path is at sample 0 and has gain 1.

The clean reference is the dry speech without delay; the room is distortion of the speech track.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mtqnet.audio.level import fast_length
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.step import (
    EXTRA,
    Drawn,
    Tracks,
    a_seed,
    between,
    module,
    package,
    uniform,
)
from mtqnet.corpus.sources import Pool, load, pick
from mtqnet.errors import CorpusError

MAX_RESPONSE_S = 2.0
"""Seconds of a response that are used."""
DIRECT_S = 0.0025
"""Seconds after the peak that belong to the direct path."""
SOUND_SPEED = 343.0
"""m/s in air of 20 °C."""
MAX_ORDER = 40
"""Reflections that one path may have. The number of paths grows with its cube (89 000 at 40, about 30 ms of work);
a room drawn here needs no more for its first 35 dB."""
MIN_DISTANCE = 0.1
"""Metres between source and microphone, at least."""
CRITICAL = 0.057
"""Times sqrt(volume / reverberation time), in metres and seconds: the distance at which the direct sound is as
strong as the reverberant (Kuttruff, Room Acoustics)."""
NEAREST, FARTHEST = 0.3, 2.0
"""Drawn distances: from 0.3 m to twice the critical one, 6 dB more reverberation than speech. Farther away single
reflections are taken for the direct sound, and the speech seems to come late."""
SWAY = 321
"""Samples, 20 ms: reflections are all positive, so their mean over this time is removed: rooms have no constant
pressure."""


def _reverberate(tracks: Tracks, response: NDArray[np.float64]) -> Tracks:
    length = len(tracks.clean)
    size = fast_length(length + len(response))
    wet = np.fft.irfft(np.fft.rfft(tracks.speech, size) * np.fft.rfft(response, size), size)[:length]
    return replace(tracks, speech=wet.astype(np.float32))


@dataclass(frozen=True)
class MeasuredRoom:
    """A measured response, with the level of its reverberant part changed relative to the direct path."""

    file: str
    tail_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> MeasuredRoom:
        return cls(pick(pool.rooms, rng).path, uniform(rng, -12, 3))

    def __call__(self, tracks: Tracks) -> Tracks:
        measured = load(self.file).astype(np.float64)
        peak = int(np.argmax(np.abs(measured)))
        response = measured[peak : peak + round(MAX_RESPONSE_S * SAMPLE_RATE)] / measured[peak]
        response[round(DIRECT_S * SAMPLE_RATE) :] *= 10 ** (self.tail_db / 20)
        return _reverberate(tracks, response)


@dataclass(frozen=True)
class DecayRoom(Drawn):
    """Polack's statistical room: Gaussian noise that decays by 60 dB in `rt60_s`, behind a direct path.

    J.-D. Polack, "La transmission de l'énergie sonore dans les salles", 1988.
    """

    rt60_s: float = between(0.1, 1.2)
    direct_to_reverberant_db: float = between(-6, 18)
    seed: int = a_seed()

    def __call__(self, tracks: Tracks) -> Tracks:
        length = round(min(1.5 * self.rt60_s, MAX_RESPONSE_S) * SAMPLE_RATE)
        time = np.arange(length) / SAMPLE_RATE
        tail = np.random.default_rng(self.seed).standard_normal(length) * 10 ** (-3 * time / self.rt60_s)
        tail[: round(DIRECT_S * SAMPLE_RATE)] = 0.0
        tail *= 10 ** (-self.direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
        tail[0] = 1.0
        return _reverberate(tracks, tail)


@dataclass(frozen=True)
class SimulatedRoom:
    """A rectangular room by image sources, each path rounded to a sample (Allen and Berkley, JASA 65, 1979).

    Unlike in the statistical room, early reflections are single and come from walls. pyroomacoustics finds the
    images; walls all absorb alike, as Sabine's formula has it for the reverberation time.
    """

    size_m: tuple[float, float, float]
    """Length, width and height."""
    rt60_s: float
    source: tuple[float, float, float]
    """Place of the mouth, as shares of length, width and height."""
    microphone: tuple[float, float, float]
    """Place of the microphone, likewise."""

    NEEDS: ClassVar = (package("pyroomacoustics", EXTRA),)

    @classmethod
    def draw(cls, rng: np.random.Generator, pool: Pool, samples: int) -> SimulatedRoom:
        size = (uniform(rng, 2.5, 12), uniform(rng, 2.2, 9), uniform(rng, 2.3, 4.5))
        volume, surface = float(np.prod(size)), 2 * sum(size[i] * size[i - 1] for i in range(3))
        # 1.3 times the shortest reverberation time of Sabine's formula
        shortest = max(0.12, 1.3 * (24 * np.log(10) / SOUND_SPEED) * volume / surface)
        # metres between two walls, on average, in the direction in which sound meets them most often
        free_path = min(float(size[i] * size[i - 1] / np.hypot(size[i], size[i - 1])) for i in range(3))
        longest = min(
            1.2, 2.0 * MAX_ORDER * free_path / SOUND_SPEED
        )  # half of the reflections are the first 30 dB
        rt60 = uniform(rng, min(shortest, longest), longest)
        mouth, ear = (rng.uniform((0.1, 0.1, 0.3), (0.9, 0.9, 0.7)) for _ in range(2))
        reach = uniform(rng, NEAREST, max(NEAREST, FARTHEST * CRITICAL * float(np.sqrt(volume / rt60))))
        ear = mouth + (ear - mouth) * min(1.0, reach / float(np.linalg.norm((ear - mouth) * size)))
        return cls(size, rt60, _place(mouth), _place(ear))

    def __call__(self, tracks: Tracks) -> Tracks:
        return _reverberate(tracks, self._response())

    def _response(self) -> NDArray[np.float64]:
        """(taps,), the direct path first with gain 1. Raises CorpusError for a room that cannot be so dead."""
        delays, gains = self._paths()
        keep = delays < round(MAX_RESPONSE_S * SAMPLE_RATE)
        response = np.bincount(delays[keep], weights=gains[keep])
        response -= np.convolve(response, np.hanning(SWAY) / np.hanning(SWAY).sum(), mode="same")
        response[0] = 1.0
        return np.asarray(response, dtype=np.float64)

    def _paths(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """(paths,) delay in samples and gain of every path, both relative to the direct one."""
        pra = module("pyroomacoustics", EXTRA)
        try:
            absorption, order = pra.inverse_sabine(self.rt60_s, list(self.size_m), c=SOUND_SPEED)
        except ValueError as error:
            raise CorpusError(f"no room of {self.size_m} m is as dead as {self.rt60_s} s") from error
        room = pra.ShoeBox(
            list(self.size_m), SAMPLE_RATE, materials=pra.Material(absorption), max_order=min(order, MAX_ORDER)
        )
        mouth, ear = (np.array(place) * self.size_m for place in (self.source, self.microphone))
        room.add_source(mouth)
        room.add_microphone(ear)
        room.image_source_model()
        images = np.asarray(room.sources[0].images, dtype=np.float64)
        damping = np.asarray(room.sources[0].damping, dtype=np.float64)[0]
        metres = np.maximum(np.linalg.norm(images - ear[:, None], axis=0), MIN_DISTANCE)
        direct = max(float(np.linalg.norm(mouth - ear)), MIN_DISTANCE)
        delays = np.maximum(np.round((metres - direct) / SOUND_SPEED * SAMPLE_RATE), 0).astype(np.intp)
        return delays, damping * direct / metres


def _place(shares: NDArray[np.float64]) -> tuple[float, float, float]:
    length, width, height = (round(float(share), 3) for share in shares)
    return length, width, height
