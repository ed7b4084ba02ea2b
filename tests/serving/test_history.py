"""Every filter finds what Python finds, on each database."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.exc import IntegrityError
from test_scoring import problem

from mtqnet.errors import UsageError
from mtqnet.scoring.scores import Scores
from mtqnet.serving import history as databases
from mtqnet.serving.history import DAY_MS, History, Row, now_ms, recordings, scores
from mtqnet.targets import KEYS

ROWS = 300


@pytest.fixture
def history(database: str) -> Iterator[History]:
    kept = History(databases.opened(database))
    yield kept
    kept.close()


def made(number: int, rng: random.Random) -> Row:
    return {
        "time_ms": now_ms() - (ROWS - number) * DAY_MS // 10, "kind": rng.choice(["file", "stream"]),
        "file": f"Call_{number}%.wav", "source": rng.choice(["north", "south"]), "error": None,
        "level": rng.choice(["ok", "caution"]), "flags": rng.choice(["", " dc ", " dc  short "]),
        "duration_s": 4.5, "model": rng.choice(["base", "small"]), "model_sha256": "0" * 64, "version": "1",
        **{key: rng.choice([None, round(rng.uniform(1, 5), 4)]) for key in KEYS},
    }  # fmt: skip


@pytest.fixture
def filled(history: History) -> tuple[History, list[Row]]:
    """A history, and its rows from the newest to the oldest."""
    rng = random.Random(1)
    rows = [made(number, rng) for number in range(ROWS)]
    with history._engine.begin() as connection:
        connection.execute(insert(scores), rows)
    return history, rows[::-1]


CASES: dict[str, tuple[dict[str, Any], Callable[[Row], bool]]] = {
    "all": ({}, lambda _: True),
    "kind": ({"kind": "file"}, lambda row: row["kind"] == "file"),
    "source": ({"source": "north"}, lambda row: row["source"] == "north"),
    "model": ({"model": "small"}, lambda row: row["model"] == "small"),
    "level": ({"level": "caution"}, lambda row: row["level"] == "caution"),
    "flag": ({"flag": "short"}, lambda row: "short" in row["flags"].split()),
    "file": ({"file": "call_1"}, lambda row: "call_1" in row["file"].lower()),
    "like": ({"file": "_2%"}, lambda row: "_2%" in row["file"]),
    "least": ({"min_g_mos": 3.0}, lambda row: (row["g_mos"] or 0) >= 3),
    "most": (
        {"max_s_mos": 2.0, "max_n_mos": 4.0},
        lambda row: (row["s_mos"] or 9) <= 2 and (row["n_mos"] or 9) <= 4,
    ),
    "several": (
        {"kind": "file", "source": "south", "flag": "dc", "min_pesq_est": 1.5},
        lambda row: (row["kind"], row["source"]) == ("file", "south")
        and "dc" in row["flags"] and (row["pesq_est"] or 0) >= 1.5,
    ),
}  # fmt: skip


def test_filters(filled: tuple[History, list[Row]]) -> None:
    history, rows = filled
    for name, (filters, wanted) in CASES.items():
        found = [row["file"] for row in history.page(ROWS, **filters)]
        assert found == [row["file"] for row in rows if wanted(row)], name
        assert found, name
    middle = datetime.fromtimestamp(rows[100]["time_ms"] / 1000, UTC)
    assert len(history.page(ROWS, since=middle)) == 101
    assert len(history.page(ROWS, until=middle)) == ROWS - 101


def test_pages_join_without_gap(filled: tuple[History, list[Row]]) -> None:
    history, rows = filled
    seen: list[str] = []
    before = ROWS + 1
    while page := history.page(7, kind="file", before=before):
        seen += [row["file"] for row in page]
        before = page[-1]["id"]
    assert seen == [row["file"] for row in rows if row["kind"] == "file"]


def test_old_rows_and_their_recordings_are_forgotten(filled: tuple[History, list[Row]]) -> None:
    history, rows = filled
    kept = history.add(Scores(g_mos=3.0, model="base"), "file", audio=b"sound")
    assert history.audio(kept) == b"sound"
    assert history.prune(10.05) == sum(row["time_ms"] < now_ms() - 10.05 * DAY_MS for row in rows)
    assert len(history.page(1000)) == 101
    assert history.remove(kept)
    assert not history.remove(kept)
    assert history.audio(kept) is None
    with history._engine.begin() as connection, pytest.raises(IntegrityError):  # no recording without its row
        connection.execute(insert(recordings).values(score_id=kept, content=b""))


def test_rows_are_what_was_scored(history: History) -> None:
    one = Scores(s_mos=3.123456, sdi_est=0.0123456, file="a.wav", flags=("dc", "short"), model="m", duration_s=1.0)
    history.add(one, "file", "here")
    history.add(Scores(error="silent", flags=("silent",), model="m"), "file")
    refused, row = history.page(2)
    assert (row["s_mos"], row["sdi_est"], row["g_mos"]) == (3.1235, 0.01235, None)
    assert (row["flags"], row["level"], row["source"], row["has_audio"]) == (
        ["dc", "short"],
        "caution",
        "here",
        False,
    )
    assert (refused["level"], refused["error"]) == ("refused", "silent")
    assert abs(row["time"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_many_writers_lose_nothing(history: History) -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda _: history.add(Scores(model="m"), "file"), range(80)))
    assert len(set(ids)) == 80
    assert len(history.page(100)) == 80


@pytest.mark.parametrize("url", ["what", "sqlite:////proc/no/file", "no+driver://x/y"])
def test_a_database_that_cannot_be_opened_is_reported(url: str) -> None:
    with pytest.raises(UsageError, match="MTQNET_DATABASE"):
        databases.opened(url)


def test_sqlite_is_in_wal_mode(tmp_path: Path) -> None:
    databases.opened(f"sqlite:///{tmp_path / 'a' / 'history.sqlite'}").dispose()
    engine = create_engine(f"sqlite:///{tmp_path / 'a' / 'history.sqlite'}")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    engine.dispose()


def test_over_http(client: httpx.Client, good_file: Path, bad_files: dict[str, Path]) -> None:
    sound = good_file.read_bytes()
    asked: dict[str, Any] = {"source": "over http", "model": "toy", "name": "kept.wav"}
    row_id = client.post("/v1/score", content=sound, params=asked | {"keep_audio": True}).json()["id"]
    other = client.post("/v1/score", content=bad_files["silent"].read_bytes(), params=asked).json()["id"]
    page = client.get("/v1/history", params={"source": "over http", "limit": 1}).json()
    assert [row["id"] for row in page["rows"]] == [other]
    assert page["rows"][0]["level"] == "refused"
    page = client.get("/v1/history", params={"source": "over http", "before": page["next"]}).json()
    assert page["next"] is None
    assert [row["has_audio"] for row in page["rows"]] == [True]
    hour: dict[str, Any] = {
        "since": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        "source": "over http",
        "min_g_mos": 1,
    }
    assert [row["id"] for row in client.get("/v1/history", params=hour).json()["rows"]] == [row_id]
    audio = client.get(f"/v1/history/{row_id}/audio")
    assert audio.content == sound
    assert audio.headers["content-type"] == "application/octet-stream"
    assert client.delete(f"/v1/history/{row_id}").status_code == 204
    problem(client.delete(f"/v1/history/{row_id}"), 404, "not_found")
    problem(client.get(f"/v1/history/{row_id}/audio"), 404, "not_found")
    for wrong in ({"limit": 0}, {"flag": "none"}, {"since": "x"}, {"min_g_mos": "x"}, {"before": 2**63}, {"x": 1}):
        problem(client.get("/v1/history", params=wrong), 422, "invalid")
