"""The page contains its clips, loads nothing from other hosts, and escapes text."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from mtqnet.audio.resampling import SAMPLE_RATE
from mtqnet.corpus.degradations.codecs import Opus
from mtqnet.corpus.degradations.device import Playback
from mtqnet.corpus.degradations.network import Dropouts
from mtqnet.corpus.degradations.noise import RecordedNoise
from mtqnet.corpus.listen import page
from mtqnet.corpus.recipe import Recipe, render
from mtqnet.corpus.table import read_rows, write_rows
from mtqnet.targets import TARGETS

Row = dict[str, Any]
SHARD = "audio/train/000000-000005.flac"
CLIPS, LENGTH = 6, 16_000
STEP_16_BIT = 2.0**-15
NOISE_FILE = "<b>loud & low.wav"
"""A name that would be markup"""


@dataclass(frozen=True)
class Corpus:
    root: Path
    rows: list[Row]


@dataclass(frozen=True)
class Tag:
    name: str
    attributes: dict[str, str]


class Reader(HTMLParser):
    """All tags and the words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(Tag(tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words += data


def opened(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def sound(source: str) -> NDArray[np.float32]:
    head, _, data = source.partition(",")
    assert head == "data:audio/flac;base64"
    samples, rate = sf.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert rate == SAMPLE_RATE
    return np.asarray(samples, dtype=np.float32)


def clip_ids(path: Path) -> list[str]:
    return [
        tag.attributes["aria-label"].removeprefix("Clip ") for tag in opened(path).tags if tag.name == "article"
    ]


def players(path: Path, kind: str) -> list[str]:
    tags = (tag.attributes for tag in opened(path).tags if tag.name == "audio")
    return [tag["src"] for tag in tags if tag["class"] == kind]


@pytest.fixture(scope="module")
def corpus(talker: Callable[..., NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Six clips in one shard. The source recording of the last one is gone."""
    root = tmp_path_factory.mktemp("corpus")
    speech = root / "speech.flac"
    sf.write(speech, talker(4.0, seed=1), SAMPLE_RATE)
    shard = root / SHARD
    shard.parent.mkdir(parents=True)
    sf.write(shard, talker(CLIPS * LENGTH / SAMPLE_RATE, seed=2), SAMPLE_RATE, subtype="PCM_24")
    rows = [_row(number, speech if number < CLIPS - 1 else root / "gone.flac") for number in range(CLIPS)]
    write_rows(rows, root / "labels.parquet")
    return Corpus(root, read_rows(root))


def _row(number: int, speech: Path) -> Row:
    steps = (
        RecordedNoise(f"noise/{NOISE_FILE}", 5, 12.5),
        Dropouts((0.1,), (20.0, 30.5, 40.0, 50.0, 60.0), True),
        Opus(12, 16_000, "voip", 20),
        Playback(-26.0),
    )
    recipe = Recipe("train", number, "chain", speech.as_posix(), "19", 8_000, LENGTH, 10.0, steps)
    return {
        "id": f"train/{number:06d}", "shard": SHARD, "start": number * LENGTH, "samples": LENGTH,
        "seconds": LENGTH / SAMPLE_RATE, "split": "train", "speaker": "19", "scene": "chain",
        "steps": [type(step).__name__ for step in steps],
        "s_mos": 1.5 + number / 2, "n_mos": 3.25, "g_mos": 2.0, "pesq": 1.75, "stoi": 0.875, "sdi": 0.0125,
        "equivalent_q_db": 17.25, "equivalent_snr_db": 31.5, "recipe": recipe.to_json(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def whole(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all clips."""
    out = tmp_path_factory.mktemp("page") / "listen.html"
    page(corpus.root, corpus.rows, out, 20, 1, "s_mos<2 & more")
    return out


def test_every_clip_is_there_with_its_own_sound(whole: Path, corpus: Corpus) -> None:
    assert clip_ids(whole) == [row["id"] for row in corpus.rows]
    stored, _ = sf.read(corpus.root / SHARD, dtype="float32")
    heard = players(whole, "degraded")
    assert len(heard) == CLIPS
    for number, source in enumerate(heard):
        mine = stored[number * LENGTH : (number + 1) * LENGTH]
        np.testing.assert_allclose(sound(source), mine, atol=2 * STEP_16_BIT)


def test_clean_reference_is_that_of_the_labels_and_left_out_where_it_is_gone(whole: Path, corpus: Corpus) -> None:
    heard = players(whole, "clean")
    assert len(heard) == CLIPS - 1
    recipe = Recipe.from_json(corpus.rows[0]["recipe"])
    wanted = render(Recipe(**{**vars(recipe), "steps": ()})).clean
    np.testing.assert_allclose(sound(heard[0]), wanted, atol=2 * STEP_16_BIT)


def test_labels_reasons_and_steps_are_in_words(whole: Path) -> None:
    words = " ".join(opened(whole).words.split())
    assert "equivalent Q 17.2 dB, equivalent SNR 31.5 dB" in words
    assert "split train, speaker 19, scene chain, 1.0 s" in words
    assert f"RecordedNoise file {NOISE_FILE}, snr_db 12.5" in words
    assert "Opus level_dbov -26, kbps 12, rate_hz 16000, application voip, frame_ms 20" in words
    assert "lengths_ms 20, 30.5, 40 and 2 more" in words
    for text in ("1.50", "3.25", "2.00", "1.75", "0.88", "0.0125"):
        assert text in words


def test_clips_can_be_ordered_by_each_label(whole: Path, corpus: Corpus) -> None:
    reader = opened(whole)
    options = [tag.attributes["value"] for tag in reader.tags if tag.name == "option"]
    assert options == ["place", *(target.label for target in TARGETS)]
    articles = [tag.attributes for tag in reader.tags if tag.name == "article"]
    for option in options[1:]:
        assert [float(a[f"data-{option}"]) for a in articles] == [row[option] for row in corpus.rows]


def test_page_asks_no_host_for_anything(whole: Path) -> None:
    text = whole.read_text()
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]*", "", text))
    reader = opened(whole)
    assert not {tag.name for tag in reader.tags} & {"link", "img", "iframe", "object", "base"}
    loaded = [tag.attributes[key] for tag in reader.tags for key in ("src", "href") if key in tag.attributes]
    assert len(loaded) == 2 * CLIPS - 1
    assert all(source.startswith("data:audio/flac") for source in loaded)
    policy = next(tag.attributes["content"] for tag in reader.tags if "http-equiv" in tag.attributes)
    assert "default-src 'none'" in policy and "connect-src" not in policy


def test_words_of_others_are_no_markup(whole: Path) -> None:
    reader = opened(whole)
    assert NOISE_FILE in reader.words and "s_mos<2 & more" in reader.words
    assert not [tag for tag in reader.tags if tag.name == "b"]


def test_players_have_names_and_controls_for_the_keyboard(whole: Path) -> None:
    audio = [tag.attributes for tag in opened(whole).tags if tag.name == "audio"]
    assert all("controls" in tag for tag in audio)
    assert len({tag["aria-label"] for tag in audio}) == len(audio) == 2 * CLIPS - 1


def test_same_seed_is_the_same_page_and_another_draws_others(corpus: Corpus, tmp_path: Path) -> None:
    made: dict[tuple[int, int], Path] = {}
    for seed in range(8):
        for turn in range(2):
            made[seed, turn] = tmp_path / f"{seed}-{turn}.html"
            page(corpus.root, corpus.rows, made[seed, turn], 2, seed, "two")
        assert made[seed, 0].read_bytes() == made[seed, 1].read_bytes()
    drawn = [tuple(clip_ids(made[seed, 0])) for seed in range(8)]
    assert all(len(set(ids)) == 2 and list(ids) == sorted(ids) for ids in drawn)
    assert len(set(drawn)) > 2


def test_table_stands_for_its_corpus(corpus: Corpus, tmp_path: Path) -> None:
    page(corpus.root / "labels.parquet", corpus.rows[:1], tmp_path / "one.html", 1, 1, "one")
    assert len(players(tmp_path / "one.html", "degraded")) == 1
