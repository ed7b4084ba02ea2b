"""The report of a set of recordings has the right figures, is complete, and loads nothing from other hosts."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from mtqnet.errors import UsageError
from mtqnet.evaluation import recordings, report
from mtqnet.evaluation.recordings import Recordings
from mtqnet.scoring.scores import Scores

Write = Callable[[Path, Any], Path]
Run = Callable[..., Any]
VOID = {"meta", "link", "br", "rect", "img", "input"}


class Whole(HTMLParser):
    """Raises where an end tag does not fit, and keeps what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def whole(path: Path) -> Whole:
    page = Whole()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture
def made(tmp_path: Path, write: Write) -> Recordings:
    """Twenty recordings that are nowhere, in two rooms; flags on three."""
    rows = [
        {
            "file": f"calls/{n}.wav", "g_mos": 2 + n / 10, "sdi_est": 10 ** (-n / 10), "duration_s": 6.0,
            "flags": {1: "clipped short", 4: "clipped", 9: "clipped"}.get(n, ""), "room": ("car", "hall")[n % 2],
        }
        for n in range(20)
    ]  # fmt: skip
    return recordings.read(write(tmp_path / "scores.csv", rows))


def gathered(found: Recordings, by: str = "", groups: Any = None, sort: str = "g_mos") -> dict[str, Any]:
    return report.content(found, by, groups or {}, sort)


def test_distribution_contains_every_recording(made: Recordings) -> None:
    g_mos, sdi = gathered(made)["spreads"]
    assert (g_mos["median"], g_mos["worst"], g_mos["best"]) == ("2.95", "2.00", "3.90")
    assert re.fullmatch(r"2\.95 \[2\.\d\d, 3\.\d\d\]", g_mos["mean"])
    assert (g_mos["low"], g_mos["high"]) == ("1.00", "5.00")
    assert len(g_mos["bars"]) == report.BINS
    assert max(g_mos["bars"]) == 100
    assert g_mos["bars"][:5] == [0] * 5  # no value below 1.83
    assert (sdi["worst"], sdi["best"]) == ("1", "0.013")
    assert sdi["mean"].startswith("0.11 ")  # geometric: 10^-0.95


def test_worst_come_first_by_the_score_asked_for(made: Recordings) -> None:
    worst = ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav"]
    assert [line["name"] for line in gathered(made)["worst"]] == worst
    by_sdi = gathered(made, sort="sdi_est")
    assert [line["name"] for line in by_sdi["worst"]] == worst  # where SDI is highest
    assert by_sdi["worst"][0]["cells"][1]["percent"] < by_sdi["lines"][-1]["cells"][1]["percent"]


def test_flags_and_groups_are_counted(made: Recordings) -> None:
    page = gathered(made, "room", recordings.groups(made, "room", None))
    assert page["flags"] == [("clipped", 3), ("short", 1)]
    car, hall = page["groups"]
    assert (car["name"], car["count"], hall["name"], hall["count"]) == ("car", 10, "hall", 10)
    assert re.fullmatch(r"2\.90 \[\d\.\d\d, \d\.\d\d\]", car["cells"][0]["text"])


def test_recording_that_is_gone_is_reported_and_not_played(made: Recordings) -> None:
    line = gathered(made)["worst"][0]
    assert (line["sound"], line["note"]) == ("", "cannot be played: no such file: check the path")


def test_player_of_a_long_recording_contains_the_part_to_hear(tmp_path: Path, voice: Callable[..., Any]) -> None:
    path = tmp_path / "long.wav"
    sf.write(path, voice(25.0), 16000)
    row = recordings.Row(Scores(g_mos=3.0, file=str(path), duration_s=25.0), {})
    (line,) = gathered(Recordings("x", tmp_path, (row,)))["worst"]
    assert line["note"] == "20 s from 0.0 s on"
    content = base64.b64decode(line["sound"].removeprefix("data:audio/flac;base64,"))
    samples, rate = sf.read(io.BytesIO(content))
    assert (len(samples), rate) == (20 * 16000, 16000)
    assert np.abs(samples - voice(25.0)[: len(samples)]).max() < 1e-3


def test_page_of_real_recordings_is_whole_and_asks_no_host(run: Run, examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    done = run("report", examples, "-o", out)
    assert done.returncode == 0, done.stderr
    page = whole(out)
    assert len(page.addresses) == 5
    assert all(address.startswith("data:audio/flac;base64,") for address in page.addresses)
    text = " ".join(" ".join(page.texts).split())
    assert "7 recordings" in text
    assert "7_hall_overdriven.flac" in text
    assert "default-src 'none'" in out.read_text()
    assert not re.search(r"https?://|//[a-z]+\.[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", out.read_text()))


def test_names_are_text_and_nothing_else(tmp_path: Path, write: Write) -> None:
    rows = [{"file": "<script>alert(1)</script>.wav", "g_mos": 3, "room": "<b>"}]
    found = recordings.read(write(tmp_path / "scores.csv", rows))
    out = tmp_path / "report.html"
    report.write(found, out, "room", recordings.groups(found, "room", None))
    assert "<script>alert" not in out.read_text()
    assert "<b>" not in out.read_text()
    whole(out)


def test_groups_from_another_table(run: Run, made: Recordings, tmp_path: Path, write: Write) -> None:
    phones = write(tmp_path / "phones.csv", [{"file": f"{n}.flac", "phone": "ab"[n % 2]} for n in range(20)])
    out = tmp_path / "report.html"
    done = run("report", made.name, "--by", "phone", "--table", phones, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "By phone" in whole(out).texts


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--sort", "n_mos"), "does not have n_mos for every recording: sort by g_mos, sdi_est"),
        (("--by", "phone"), "has no column 'phone' (its columns are room)"),
        (("-o", "gone/report.html"), "does not exist"),
    ],
)
def test_mistakes_are_one_line(run: Run, made: Recordings, arguments: tuple[str, ...], says: str) -> None:
    done = run("report", made.name, *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_with_a_score_is_reported(tmp_path: Path, write: Write) -> None:
    found = recordings.read(write(tmp_path / "scores.csv", [{"file": "a.wav", "g_mos": "", "error": "silent"}]))
    with pytest.raises(UsageError, match="the report would be empty"):
        gathered(found)
