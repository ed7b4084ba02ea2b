"""Files and folders in, rows out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtqnet.audio.containers import AUDIO_SUFFIXES
from mtqnet.errors import NoAudioFoundError
from mtqnet.scoring.predictor import PathLike, Predictor
from mtqnet.scoring.scores import Scores


@dataclass(frozen=True)
class Job:
    """One row to come: a file, or a folder in which there was nothing."""

    path: Path
    problem: NoAudioFoundError | None = None


def find(folder: Path) -> list[Path]:
    """Audio files in a folder and the folders in it, sorted; hidden ones are left out.

    Symbolic links are followed, each folder once. Raises NoAudioFoundError when there is none.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        folders[:] = [] if real in visited else sorted(name for name in folders if not name.startswith("."))
        if real not in visited:
            found += [Path(here, name) for name in names if _is_audio(name)]
        visited.add(real)
    if not found:
        raise NoAudioFoundError(f"no audio in {folder}: files are known by their suffix, such as .wav or .flac")
    return sorted(found)


def expand(paths: Iterable[PathLike]) -> list[Job]:
    """Jobs of files and folders, in the order given, none twice. A file that is named is kept whatever it is.

    A folder without audio becomes a job with its problem, so that the rest is still scored. If there is
    nothing else, NoAudioFoundError is raised.
    """
    jobs: dict[str, Job] = {}
    for path in map(Path, paths):
        for job in _jobs(path):
            jobs.setdefault(os.path.realpath(job.path), job)
    problems = [job.problem for job in jobs.values() if job.problem is not None]
    if problems and len(problems) == len(jobs):
        raise problems[0]
    return list(jobs.values())


def score_jobs(predictor: Predictor, jobs: Iterable[Job]) -> Iterator[Scores]:
    """A row per job, in order, as they are asked for."""
    return (score_job(predictor, job) for job in jobs)


def score_job(predictor: Predictor, job: Job) -> Scores:
    """The row of a job. No file raises; see Predictor.score_files."""
    if job.problem is not None:
        return predictor.failed(job.problem, file=job.path)
    (scores,) = predictor.score_files([job.path])
    return scores


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _jobs(path: Path) -> list[Job]:
    if not path.is_dir():
        return [Job(path)]
    try:
        return [Job(file) for file in find(path)]
    except NoAudioFoundError as problem:
        return [Job(path, problem)]


def _is_audio(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
