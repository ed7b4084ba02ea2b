"""All runs of some tables on all cores: teachers first, then every arm with every seed. Results on disk stay.

A worker is a process with one math thread, and takes one run after another.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mtqnet.corpus import ensemble
from mtqnet.errors import UsageError
from mtqnet.training.batches import Labels
from research.experiments import arms, peer_table
from research.experiments.arms import Lab, Result, padded
from research.experiments.material import TESTS
from research.experiments.peer_table import PeerTable
from research.experiments.study import PEERS, Arm, Kind, Study, Table

TEACHER = Arm("MOSA-Net, the teacher", kind="teacher")
OF_TEACHER = ("network", "encoder", "teacher", "teacher_loss", "existing_models")
"""Parts of a configuration that a teacher depends on (arms.Lab.teacher_folder)"""

PEER_CLIPS = 400
"""Of each test that the peers score: DNSMOS repeats a short clip, and takes a second or two of a core for it"""
WATCH_S = 2.0
"""Seconds between two looks whether the parent lives"""

Stage = Callable[[str, int, int], None]
Told = Callable[[str, int, float], None]
"""Called after each run: the arm's name, its seed, seconds"""


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    table: str
    name: str
    arm: Arm
    seed: int


def run_all(
    lab: Lab, study: Study, seeds: int, jobs: int, stage: Stage, told: Told, python: Path = ensemble.PYTHON
) -> None:
    """Make every result that these tables need; `python` runs the peers that some arm learns from."""
    wanted = [Run(table.name, name, arm, seed) for table, name, arm in _arms(study)
              for seed in range(1, seeds + 1) if arm.kind not in PEERS]  # fmt: skip
    _prepare(lab, wanted, jobs, stage)
    _ask_peers(lab, wanted, python, jobs, stage)
    _run(lab, _first(lab, _teachers(lab, wanted)), "teachers", jobs, stage, told)
    for table in study.tables:
        runs = [run for run in wanted if run.table == table]
        _run(lab, _first(lab, runs), f"arms of {table}", jobs, stage, told)


@dataclass(frozen=True)
class PeersAt:
    """Python of the peers, and the folder of their scores."""

    python: Path
    """Interpreter of their environment (corpus/ensemble.py)"""
    table: Path
    """peer_table.py"""


def score_peers(lab: Lab, study: Study, at: PeersAt, jobs: int, stage: Stage) -> None:
    """Let the peers that these tables name score the tests, and store their scores."""
    if not any(arm.kind in PEERS for _, _, arm in _arms(study)):
        return
    table = peer_table.read(at.table, lab.corpus_digest)
    for test in TESTS:
        clips = peer_table.names(lab.material, test, PEER_CLIPS)
        if table.said(test, clips) is None:
            asked = lab.material.test(test).clips[:PEER_CLIPS]
            said = ensemble.score(
                at.python, asked, lab.out / "peers", test, jobs,
                lambda done, total, test=test: stage(f"peers, {test}", done, total),  # type: ignore[misc]
            )  # fmt: skip
            table = table.told(test, clips, said)
            peer_table.write(table, at.table)


def peer_scores(lab: Lab, test: str, table: PeerTable, path: Path) -> Labels:
    """Scores of the first PEER_CLIPS of a test by the peers, from the table read from `path`; NaN of the rest."""
    said = table.said(test, peer_table.names(lab.material, test, PEER_CLIPS))
    if said is None:
        raise UsageError(f"{path} lacks clips of {test}: were the peers let score them?")
    return padded(said, len(lab.material.test(test).clips))


def results(lab: Lab, arm: Arm, seeds: int, peers_said: Path) -> list[Result]:
    """The results of an arm, a seed each (one for a peer), from disk; `peers_said` is a peer_table.py."""
    if arm.kind not in PEERS:
        return [arms.read(lab.result(arm, seed)) for seed in range(1, seeds + 1)]
    table = peer_table.read(peers_said, lab.corpus_digest)
    said = {test: peer_scores(lab, test, table, peers_said) for test in TESTS}
    return [Result({test: of_kind(arm.kind, scores) for test, scores in said.items()}, 0.0, [])]


def of_kind(kind: Kind, scores: Labels) -> Labels:
    """The scores of one peer, by target."""
    return {target: scores[column] for target, column in PEERS[kind].items()}


def seconds(lab: Lab, table: Table, seeds: int) -> float:
    """Of one core, that the runs of a table took, teachers among them."""
    wanted = [Run(table.name, "", arm, seed) for arm in table.arms.values() for seed in range(1, seeds + 1)
              if arm.kind not in PEERS]  # fmt: skip
    runs = [*_teachers(lab, wanted), *wanted]
    files = {lab.result(run.arm, run.seed) for run in runs}
    return sum(arms.read(file).seconds for file in files)


def teacher_of(arm: Arm) -> Arm:
    """The teacher that an arm learns from: same network, same front end."""
    return replace(TEACHER, change={k: v for k, v in arm.change.items() if k in OF_TEACHER})


def _arms(study: Study) -> Iterable[tuple[Table, str, Arm]]:
    return ((table, name, arm) for table in study.tables.values() for name, arm in table.arms.items())


def _teachers(lab: Lab, wanted: Iterable[Run]) -> list[Run]:
    needing = [r for r in wanted if r.arm.objective == "pseudo" or lab.config(r.arm, r.seed).transfer]
    return [Run(run.table, "MOSA-Net", teacher_of(run.arm), run.seed) for run in needing]


def _first(lab: Lab, wanted: Iterable[Run]) -> list[Run]:
    """Each result once, seed by seed, so that a table that is stopped early has all its arms."""
    once = {lab.result(run.arm, run.seed): run for run in wanted}
    return sorted(once.values(), key=lambda run: run.seed)


def _prepare(lab: Lab, wanted: Iterable[Run], jobs: int, stage: Stage) -> None:
    done = set()
    for run in wanted:
        config = lab.config(run.arm, run.seed)
        front_end = (config.network.front_ends, config.encoder, config.network.peak_normalise)
        if front_end not in done:
            done.add(front_end)
            lab.material.prepare(config, ("train", "validation", *TESTS), jobs, stage)


def _ask_peers(lab: Lab, wanted: Iterable[Run], python: Path, jobs: int, stage: Stage) -> None:
    """Let the peers that teach some arm score what it learns from."""
    for config in {made.existing_models: made for made in (lab.config(run.arm, 1) for run in wanted)}.values():
        for split in ("train", "validation"):
            lab.peers_said(config, split, python, jobs, stage)


def _run(lab: Lab, wanted: list[Run], name: str, jobs: int, stage: Stage, told: Told) -> None:
    missing = [run for run in wanted if not lab.result(run.arm, run.seed).exists()]
    done = len(wanted) - len(missing)
    stage(name, done, len(wanted))
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs or os.cpu_count() or 1, context, _start_worker, (os.getpid(),)) as workers:
        tasks = {workers.submit(arms.run, lab, run.arm, run.seed): run for run in missing}
        try:
            for task in as_completed(tasks):
                run = tasks[task]
                done += 1
                told(f"{run.table}: {run.name}", run.seed, arms.read(task.result()).seconds)
                stage(name, done, len(wanted))
        except BaseException:  # the others in the queue would be waited for
            workers.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker(parent: int) -> None:
    """One math thread; and an end when the parent was killed, as nobody would take what comes."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
