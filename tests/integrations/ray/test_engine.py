"""A real cluster, of which a node is killed, and recordings in a bucket, of which one kills its reader.

Every recording has one row, that of the plain command. What happens stands in scenario.py, which runs once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import poison
from mtqnet.scoring.batch import Job
from mtqnet.scoring.predictor import Predictor
from mtqnet.scoring.scores import COLUMNS
from mtqnet.scoring.tables import cells

pytest.importorskip("ray")

FILES = 24
KILLER, LETTER, NIGHT = 5, 9, 14
"""One recording kills its reader, one is a letter, one is silent"""
ADDRESS = "s3://bucket/calls/"
HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
    voice: Callable[..., np.ndarray],
    toy_model: Path,
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("cluster")
    calls = folder / "calls"
    calls.mkdir()
    for number in range(FILES):
        sound = voice(1.0, seed=number) * (number != NIGHT)
        sf.write(calls / f"{number:02d}.wav", sound, 16_000)
    (calls / f"{KILLER:02d}.wav").write_bytes(poison.CRASH)
    (calls / f"{LETTER:02d}.wav").write_text("Dear sir, this is a letter.\n" * 40)
    paths = os.pathsep.join(
        [str(HERE), str(HERE.parents[2] / "src"), str(BENCHMARKS), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "scenario.py"), str(folder), str(toy_model)],
        capture_output=True, text=True, timeout=600, env=os.environ | {"PYTHONPATH": paths}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (folder / "said.txt").write_text(done.stdout)
    return folder, json.loads((folder / "facts.json").read_text())


@pytest.fixture(scope="module")
def expected(ran: tuple[Path, dict[str, Any]], toy_model: Path) -> dict[str, dict[str, Any]]:
    """The rows of the plain command, by name, without the file that would kill it."""
    files = [file for file in sorted((ran[0] / "calls").glob("*.wav")) if int(file.stem) != KILLER]
    return {Path(str(s.file)).name: cells(s) for s in Predictor(toy_model).score_jobs(map(Job, files))}


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [row for part in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_killed_node_and_killing_file_cost_no_row_and_double_none(
    ran: tuple[Path, dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> None:
    rows = rows_in(ran[0] / "scores")
    assert [row["file"] for row in rows] == [f"{ADDRESS}{number:02d}.wav" for number in range(FILES)]
    for row in rows:
        name = row["file"].removeprefix(ADDRESS)
        assert tuple(row) == COLUMNS
        if name == f"{KILLER:02d}.wav":
            assert "SIGSEGV" in row["error"] and row["g_mos"] is None
        else:
            assert row == expected[name] | {"file": row["file"]}


def test_both_nodes_worked(ran: tuple[Path, dict[str, Any]]) -> None:
    outcomes = ran[1]["killed"]
    assert len({one["node"] for one in outcomes}) == 2
    assert sum(one["failed"] for one in outcomes) == 3


def test_folder_contains_tables_a_plan_and_a_manifest_alone(ran: tuple[Path, dict[str, Any]]) -> None:
    folder = ran[0] / "scores"
    assert {file.name for file in folder.iterdir()} == {
        "_manifest.json", "_plan.parquet", *(f"part-{number:06d}.parquet" for number in range(FILES // 4))
    }  # fmt: skip
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["recordings"] == FILES and manifest["failed"] == 3


def test_rerun_scores_nothing_again(ran: tuple[Path, dict[str, Any]]) -> None:
    assert ran[1]["again"] == {"kept": FILES // 4, "recordings": FILES}


def test_rerun_scores_what_is_missing(ran: tuple[Path, dict[str, Any]]) -> None:
    assert ran[1]["mended"] == {"kept": [0, 2, 3, 4, 5], "recordings": FILES}


def test_manifest_and_archive_give_the_same_rows(
    ran: tuple[Path, dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> None:
    folder = ran[0]
    rows = {row["file"]: row for row in rows_in(folder / "mixed")}
    listed = [str(folder / "calls/00.wav"), str(folder / "missing.wav"), f"{ADDRESS}02.wav"]
    members = [f"{folder}/shards.tar!/a/{number:02d}.wav" for number in range(FILES)]
    assert list(rows) == listed + members
    assert rows[listed[1]]["error"]
    assert ran[1]["mixed"][0]["failed"] == 1
    for file, row in rows.items():
        name = file.rpartition("/")[2]
        if name in expected:
            assert row == expected[name] | {"file": file}
    assert "SIGSEGV" in rows[members[KILLER]]["error"]


def test_dataset_gets_the_same_scores_as_columns(
    ran: tuple[Path, dict[str, Any]], expected: dict[str, dict[str, Any]]
) -> None:
    first, second = ran[1]["dataset"]
    assert first.keys() == {"path", *COLUMNS}
    for row, name in ((first, "00.wav"), (second, "03.wav")):
        assert row["g_mos"] == expected[name]["g_mos"] and row["error"] == ""
        assert row["path"].endswith(name)
