"""Features of all clips, computed once by the frozen front end and stored on disk.

FOLDER/KEY/NAME-START-DIGEST/ contains the features of one chunk of clips. KEY identifies front end and encoder,
DIGEST the recordings. A chunk has one .npy file per view with the rows of all clips, which is memory-mapped, so
that the memory of a training does not grow with the corpus and several processes share one copy.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtqnet.audio.features import FEATURES, peak_normalised
from mtqnet.audio.reading import Excerpt, read_excerpt
from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.table import fingerprint
from mtqnet.errors import UsageError
from mtqnet.scoring.workers import exit_with_parent
from mtqnet.training import encoder as encoders
from mtqnet.training.config import Config, EncoderConfig, NetworkConfig

CHUNK = 100
"""Clips per chunk"""
STORED = np.float16
"""Three significant digits are enough: log-mel is within -10 to 3, encoder frames within -20 to 20"""

Progress = Callable[[int, int], None]
"""Called with the number of finished clips and of all clips"""
Views = Mapping[str, NDArray[Any]]
"""Arrays (rows, columns) of one clip by name"""


@dataclass(frozen=True)
class FrontEnd:
    """Which features are computed for a clip."""

    features: tuple[str, ...]
    peak_normalise: bool
    encoder: EncoderConfig | None

    @classmethod
    def of(cls, network: NetworkConfig, encoder: EncoderConfig) -> FrontEnd:
        """Return the front end of a network; `encoder` is used only if the network has an encoder branch."""
        views = tuple(name for name in network.front_ends if name != "encoder")
        return cls(views, network.peak_normalise, encoder if "encoder" in network.front_ends else None)

    @classmethod
    def of_config(cls, config: Config) -> FrontEnd:
        """Return the front end of a configuration."""
        return cls.of(config.network, config.encoder)

    @property
    def key(self) -> str:
        """Identifier of everything that the features depend on."""
        facts = asdict(self)
        if self.encoder is not None and facts["encoder"].pop("weights"):  # the path may name other weights later
            facts["encoder"]["weights"] = hashlib.sha256(encoders.stored_weights(self.encoder)).hexdigest()
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Clip:
    """Features of one clip: (rows, columns) each by name; `encoder` is one of them if the front end has an
    encoder."""

    samples: int
    """Length of the clip in samples at 16 kHz"""
    features: dict[str, NDArray[np.float16]]


def compute(
    front_end: FrontEnd, clips: Sequence[Excerpt], folder: Path, name: str, progress: Progress = lambda *_: None,
    jobs: int = 0,
) -> list[Clip]:  # fmt: skip
    """Return the features of these clips in order; those that `folder` does not contain yet are computed.

    Args:
        front_end: Which features.
        clips: Recordings or parts of recordings.
        folder: Where features are stored.
        name: First part of the chunks' names, such as the split.
        progress: Called after each chunk.
        jobs: Number of processes; 0 is one per core.
    """
    views = stored(clips, folder / front_end.key, name, partial(_features, front_end), jobs, progress)
    return [Clip(int(view.pop("samples")[0]), view) for view in views]


def stored(
    clips: Sequence[Excerpt], folder: Path, name: str, work: Callable[[Sequence[Excerpt]], list[Views]],
    jobs: int = 0, progress: Progress = lambda *_: None,
) -> list[dict[str, NDArray[Any]]]:  # fmt: skip
    """Process clips in chunks, each of which is stored under its own name, so that an interrupted run resumes.

    Args:
        clips: All clips.
        folder: Where the results are stored.
        name: First part of the chunks' names.
        work: Computes the arrays (rows, columns) of some clips, by clip and name; can be pickled.
        jobs: Number of processes; 0 is one per core.
        progress: Called after each chunk.

    Returns:
        The arrays of all clips, in order; they are memory-mapped and read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [clips[start : start + CHUNK] for start in range(0, len(clips), CHUNK)]
    paths = [folder / f"{name}-{n * CHUNK:06d}-{fingerprint(part)}" for n, part in enumerate(parts)]
    missing = [(path, part) for path, part in zip(paths, parts, strict=True) if not path.exists()]
    done = len(clips) - sum(len(part) for _, part in missing)
    progress(done, len(clips))
    if len(missing) == 1:  # starting a process would take longer
        _store(work, *missing[0])
        progress(len(clips), len(clips))
    elif missing:
        context, count = multiprocessing.get_context("spawn"), jobs or os.cpu_count() or 1
        with ProcessPoolExecutor(count, mp_context=context, initializer=_worker) as workers:
            tasks = {workers.submit(_store, work, path, part): len(part) for path, part in missing}
            for task in as_completed(tasks):
                task.result()
                done += tasks[task]
                progress(done, len(clips))
    return [clip for path in paths for clip in read_chunk(path)]


def write_chunk(path: Path, clips: Sequence[Views]) -> None:
    """Write the arrays of some clips into the folder `path`, atomically.

    Args:
        path: Folder of the chunk.
        clips: By clip, arrays (rows, columns) by name; all clips have the same names.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.mkdir(parents=True, exist_ok=True)
    for name in clips[0]:
        views = [clip[name] for clip in clips]
        np.save(unfinished / f"{name}.npy", np.concatenate(views))
        np.save(unfinished / f"{name}.rows.npy", np.array([len(view) for view in views]))
    try:
        unfinished.replace(path)
    except OSError:
        if not path.exists():
            raise
        shutil.rmtree(unfinished)  # another process has written the same chunk


def read_chunk(path: Path) -> list[dict[str, NDArray[Any]]]:
    """Return what `write_chunk` wrote; the arrays are memory-mapped and read-only."""
    clips: list[dict[str, NDArray[Any]]] = []
    for file in sorted(path.glob("*.rows.npy")):
        name, ends = file.name.removesuffix(".rows.npy"), np.cumsum(np.load(file))
        rows = np.asarray(np.load(path / f"{name}.npy", mmap_mode="r"))
        views = np.split(rows, ends[:-1])
        clips = clips or [{} for _ in views]
        for clip, view in zip(clips, views, strict=True):
            clip[name] = view
    return clips


def of_clip(front_end: FrontEnd, clip: Excerpt, encoder: encoders.SpeechEncoder | None) -> Clip:
    """Compute the features of one clip.

    Raises:
        UsageError: If the clip is longer than the encoder accepts.
    """
    samples = read_excerpt(clip)
    if encoder is not None and len(samples) > encoders.MAX_SECONDS * SAMPLE_RATE:
        raise UsageError(
            f"{clip.path} lasts {len(samples) / SAMPLE_RATE:.1f} s, the encoder accepts at most "
            f"{encoders.MAX_SECONDS} s: split it"
        )
    needed = {*front_end.features} | ({encoder.feature} if encoder is not None else set())
    views = {name: FEATURES[name].compute(samples) for name in needed}
    if front_end.peak_normalise:
        scaled = peak_normalised(samples)
        views.update({name: FEATURES[name].compute(scaled) for name in front_end.features})
    stored = {name: views[name].astype(STORED) for name in front_end.features}
    if encoder is not None:
        with torch.inference_mode():
            frames, _ = encoder(torch.from_numpy(views[encoder.feature])[None], torch.tensor([len(samples)]))
        stored["encoder"] = frames[0].numpy().astype(STORED)
    return Clip(len(samples), stored)


def _worker() -> None:
    exit_with_parent()
    torch.set_num_threads(1)


def _store(work: Callable[[Sequence[Excerpt]], list[Views]], path: Path, clips: Sequence[Excerpt]) -> None:
    write_chunk(path, work(clips))


def _features(front_end: FrontEnd, clips: Sequence[Excerpt]) -> list[Views]:
    encoder = _loaded(front_end.encoder) if front_end.encoder else None
    computed = [of_clip(front_end, clip, encoder) for clip in clips]
    return [{"samples": np.array([clip.samples]), **clip.features} for clip in computed]


@lru_cache(maxsize=1)
def _loaded(config: EncoderConfig) -> encoders.SpeechEncoder:
    """Load the encoder once per process."""
    return encoders.load(config)
