"""Features of all clips, computed once and kept on disk: what the frozen front end gives for each clip.

DIR/KEY/SPLIT-K-DIGEST.npz is one chunk of clips. KEY names front end and encoder, DIGEST the chunk's recordings:
other ones have files of their own.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.audio import reading, resampling
from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.reading import Excerpt
from mtqnet.corpus.table import fingerprint
from mtqnet.errors import UsageError
from mtqnet.training import encoder as encoders
from mtqnet.training import mapped, parallel
from mtqnet.training.config import Config, EncoderConfig, NetworkConfig
from mtqnet.training.memory import keep_memory
from mtqnet.training.pieces import unfinished

CHUNK = 100
"""Clips a file"""
STORED = np.float16
"""Log-mel runs from -10 to 3 and encoder frames from -20 to 20: three digits are enough."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FrontEnd:
    """What is computed for a clip."""

    features: tuple[str, ...]
    peak_normalise: bool
    encoder: EncoderConfig | None

    @classmethod
    def of(cls, config: Config) -> FrontEnd:
        return cls.under(config.network, config.encoder)

    @classmethod
    def under(cls, network: NetworkConfig, encoder: EncoderConfig) -> FrontEnd:
        """The front end of a network; `encoder` where that has a branch for it."""
        views = tuple(name for name in network.inputs if name != "encoder")
        return cls(views, network.peak_normalise, encoder if "encoder" in network.inputs else None)

    @property
    def key(self) -> str:
        told = asdict(self)
        if self.encoder is not None and told["encoder"].pop("weights"):  # a path says nothing of what is there
            told["encoder"]["weights"] = hashlib.sha256(encoders.stored_weights(self.encoder)).hexdigest()
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Clip:
    """One clip's features: (rows, columns) each, by name; `encoder` among them if there is one."""

    samples: int
    features: dict[str, NDArray[np.float16]]


def compute(
    front_end: FrontEnd,
    clips: Sequence[Excerpt],
    store: Path,
    name: str,
    progress: Progress | None = None,
    jobs: int = 0,
) -> list[Clip]:
    """Features of these clips, in order, from the store where it has them. `jobs` processes; 0 is one a core."""
    return [clip for path in fill(front_end, clips, store, name, progress, jobs) for clip in _read_chunk(path)]


def fill(
    front_end: FrontEnd,
    clips: Sequence[Excerpt],
    store: Path,
    name: str,
    progress: Progress | None = None,
    jobs: int = 0,
) -> list[Path]:
    """Compute what the store lacks of these clips; the files that hold them, in order."""
    folder = store / front_end.key
    folder.mkdir(parents=True, exist_ok=True)
    chunks = {_chunk_file(folder, name, s, clips[s : s + CHUNK]): s for s in range(0, len(clips), CHUNK)}
    missing = [path for path in chunks if not path.exists()]
    done = len(clips) - sum(min(CHUNK, len(clips) - chunks[path]) for path in missing)
    if progress:
        progress(done, len(clips))
    if len(missing) == 1:  # to start a process takes longer
        place = chunks[missing[0]]
        _store_chunk(front_end, clips[place : place + CHUNK], missing[0])
        if progress:
            progress(len(clips), len(clips))
    elif missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs or os.cpu_count() or 1, mp_context=context) as workers:
            tasks = {
                workers.submit(_work, front_end, clips[chunks[path] : chunks[path] + CHUNK], path): path
                for path in missing
            }
            for task in as_completed(tasks):
                task.result()
                done += min(CHUNK, len(clips) - chunks[tasks[task]])
                if progress:
                    progress(done, len(clips))
    return list(chunks)


def of_clip(front_end: FrontEnd, clip: Excerpt, encoder: encoders.SpeechEncoder | None) -> Clip:
    """Features of one recording."""
    samples = reading.read_excerpt(clip)
    if encoder is not None and len(samples) > encoders.MAX_SECONDS * resampling.SAMPLE_RATE:
        raise UsageError(f"{clip.path} is longer than {encoders.MAX_SECONDS} s: cut it")
    views = {name: FEATURES[name].compute(samples) for name in _needed(front_end, encoder)}
    if front_end.peak_normalise:
        scaled = peak_normalised(samples)
        views.update({name: FEATURES[name].compute(scaled) for name in front_end.features})
    kept = {name: views[name].astype(STORED) for name in front_end.features}
    if encoder is not None:
        with torch.inference_mode():
            frames, _ = encoder(torch.from_numpy(views[encoder.feature])[None], torch.tensor([len(samples)]))
        kept["encoder"] = frames[0].numpy().astype(STORED)
    return Clip(len(samples), kept)


def _needed(front_end: FrontEnd, encoder: encoders.SpeechEncoder | None) -> set[str]:
    return set(front_end.features) | ({encoder.feature} if encoder is not None else set())


def _work(front_end: FrontEnd, clips: Sequence[Excerpt], target: Path) -> None:
    """What a process does: a chunk, with one thread."""
    torch.set_num_threads(1)
    keep_memory()
    _store_chunk(front_end, clips, target)


def _store_chunk(front_end: FrontEnd, clips: Sequence[Excerpt], target: Path) -> None:
    encoder = _loaded(front_end.encoder) if front_end.encoder else None
    arrays: dict[str, Any] = {}
    for place, source in enumerate(clips):
        clip = of_clip(front_end, source, encoder)
        arrays[f"{place}/samples"] = np.int64(clip.samples)
        arrays.update({f"{place}/{name}": view for name, view in clip.features.items()})
    np.savez(unfinished(target), **arrays)
    unfinished(target).replace(target)


@lru_cache(maxsize=1)
def _loaded(config: EncoderConfig) -> encoders.SpeechEncoder:
    """The encoder of a process that takes one chunk after another."""
    return encoders.load(config)


def _read_chunk(path: Path) -> list[Clip]:
    if parallel.here().world > 1:
        arrays = mapped.arrays(path)
    else:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
    clips: dict[int, dict[str, Any]] = {}
    for name, value in arrays.items():
        place, _, view = name.partition("/")
        clips.setdefault(int(place), {})[view] = value
    return [Clip(int(clips[i].pop("samples")), clips[i]) for i in sorted(clips)]


def _chunk_file(folder: Path, name: str, start: int, clips: Sequence[Excerpt]) -> Path:
    """Where a chunk is kept. Its name tells its recordings: other or newer ones have another file."""
    return folder / f"{name}-{start:06d}-{fingerprint(clips)}.npz"
