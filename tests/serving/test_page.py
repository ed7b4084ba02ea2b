"""The page in a real browser: scores as the command line says them, scrubbing, A/B, live sound, history, access.

MTQNET_SCREENSHOTS names a folder to keep pictures of each view in.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile as sf
from running import Server

from mtqnet.serving.settings import BROWSER
from mtqnet.targets import KEYS, TARGETS

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: .ci/run installs one")
BROWSER_BUILT = (BROWSER / "index.js").is_file()
Page = Any
Run = Callable[..., subprocess.CompletedProcess[str]]
PHONE = {"width": 375, "height": 740}
SHOTS = os.environ.get("MTQNET_SCREENSHOTS")


@pytest.fixture(scope="module")
def browser(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium whose microphone is a repeated example recording."""
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    samples, rate = sf.read(examples / "2_office_noise.flac", dtype="float32")
    sf.write(heard, samples, rate, subtype="PCM_16")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={heard}", "--autoplay-policy=no-user-gesture-required",
            ],
        )  # fmt: skip
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, serving: Server) -> Iterator[Page]:
    """A tab that must not ask any other host, and must not complain."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1180, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("websocket", lambda socket: asked.append(socket.url))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    tab.goto(serving.url)
    yield tab
    own = urlsplit(serving.url).netloc
    assert [url for url in asked if urlsplit(url).netloc not in ("", own)] == []
    expected = re.compile(r"status of 4\d\d")  # a refused recording, which the browser tells, too
    assert [line for line in complaints if not expected.search(line)] == []
    context.close()


def shot(tab: Page, name: str) -> None:
    if SHOTS:
        tab.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def drop(tab: Page, place: str, *files: Path) -> None:
    """As the browser does when files are dropped from a folder."""
    data = tab.evaluate_handle(
        """async (files) => {
            const data = new DataTransfer();
            for (const { name, bytes } of files) data.items.add(new File([new Uint8Array(bytes)], name));
            return data;
        }""",
        [{"name": file.name, "bytes": list(file.read_bytes())} for file in files],
    )
    tab.dispatch_event(place, "drop", {"dataTransfer": data})


def until(tab: Page, holds: Callable[[], bool]) -> None:
    """Waits, without a function in the page: its policy forbids to evaluate one."""
    for _ in range(600):
        if holds():
            return
        tab.wait_for_timeout(100)
    raise AssertionError("it never came")


def accessible(tab: Page, place: str) -> None:
    """No finding of axe of any level, in light and dark mode and on a phone; no view is wider than the screen."""
    from axe_playwright_python.sync_playwright import Axe

    size = tab.viewport_size
    for scheme, viewport in (("light", size), ("dark", size), ("light", PHONE)):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size(viewport)
        found = Axe().run(tab).response["violations"]
        findings = [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found]
        assert findings == [], f"{place}, {scheme}, {viewport['width']}"
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{place} is too wide"
        shot(tab, f"{place}-{scheme}-{viewport['width']}")
    tab.set_viewport_size(size)
    tab.emulate_media(color_scheme="light")


def test_dropped_files_get_the_scores_of_the_command_line(page: Page, examples: Path, run: Run) -> None:
    noisy, clean = examples / "2_office_noise.flac", examples / "1_clean.flac"
    (row,) = csv.DictReader(io.StringIO(run("score", noisy).stdout))
    drop(page, "#score-drop", noisy, clean)
    page.wait_for_selector(".plots .wave")
    page.get_by_text("Estimates: PESQ, STOI, SDI").click()
    for target in TARGETS:
        gauge = page.locator(f"[data-score={target.key}]")
        assert float(gauge.get_attribute("data-value")) == float(row[target.key])
        shown = gauge.locator(".value").inner_text()
        assert float(shown) == pytest.approx(float(row[target.key]), abs=0.005), target.key
        assert gauge.get_by_role("meter").get_attribute("aria-valuetext")
    page.get_by_text("Scored 2 of 2.").wait_for()
    assert page.locator("#recordings tbody tr").count() == 2
    accessible(page, "score")
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('.plots canvas')].map((canvas) => {
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        })"""
    )
    assert len(drawn) == 4
    assert min(drawn) > 2, "a picture is empty"
    page.get_by_role("button", name="1_clean.flac", exact=True).click()
    page.get_by_role("heading", name="1_clean.flac").wait_for()


WORST = {"start_s": 6.5, "end_s": 9.9, "g_mos": 2.1}
VERDICTS: list[tuple[dict[str, Any], str, str]] = [
    (
        {"s_mos": 4.1, "n_mos": 2.2, "g_mos": 2.9, "worst": WORST},
        "Fair. Background noise. Worst from 0:06.5 to 0:09.9.",
        "The speech is slightly distorted and the background is somewhat intrusive.",
    ),
    (
        {"s_mos": 3.0, "n_mos": 3.5, "g_mos": 2.4, "worst": None},
        "Poor. Distorted speech.",
        "The speech is somewhat distorted and the background is slightly noticeable.",
    ),
    (
        {"s_mos": 2.0, "n_mos": 2.4, "g_mos": 1.4, "worst": None},
        "Bad. Distorted speech and background noise.",
        "The speech is fairly distorted and the background is somewhat intrusive.",
    ),
    (
        {"s_mos": 4.6, "n_mos": 3.6, "g_mos": 4.5, "worst": None},
        "Excellent. No main problem.",
        "The speech is not distorted and the background is slightly noticeable.",
    ),
    ({"s_mos": None, "n_mos": None, "g_mos": 3.6, "worst": None}, "Good.", ""),
    (
        {"s_mos": 2.6, "n_mos": 3.6, "g_mos": 2.5, "worst": None, "cause": "Coding. Use a newer codec."},
        "Fair. Coding.",
        "Use a newer codec. The speech is somewhat distorted and the background is slightly noticeable.",
    ),
    (
        {
            "s_mos": None,
            "n_mos": None,
            "g_mos": 2.5,
            "worst": WORST,
            "cause": "Packet loss or dropouts between 0:06.1 and 0:10.2, coding. Check the network.",
        },
        "Fair. Packet loss or dropouts. Worst from 0:06.5 to 0:09.9.",
        "Packet loss or dropouts between 0:06.1 and 0:10.2, coding. Check the network.",
    ),
]
"""Scores at and around the thresholds of the rule in verdict.js, and the line and sentences they lead to"""


def test_the_verdict_names_quality_cause_and_worst_segment(page: Page, serving: Server, good_file: Path) -> None:
    with serving.client() as client:  # the browser does not pass the bytes of an upload on to a route
        answer = client.post("/v1/score", files={"file": good_file.read_bytes()}, params={"track": True}).json()
    answers = iter([answer | {"cause": ""} | scores for scores, *_ in VERDICTS])
    page.route("**/v1/score?*", lambda route: route.fulfill(json=next(answers)))
    for scores, line, rest in VERDICTS:
        page.set_input_files("#score-files", good_file)
        page.locator("#verdict").get_by_text(line, exact=True).wait_for()
        assert page.locator("#details").all_inner_texts() == [rest] * bool(rest)
        assert page.locator(".verdict .value").inner_text() == f"{scores['g_mos']:.2f}"
        word = page.locator(".verdict .word").inner_text()
        assert line.lower().startswith(f"{word}.")


def listed(page: Page) -> list[tuple[str, float]]:
    """Names and G-MOS of the rows of the list."""
    rows = page.locator("#recordings tbody tr")
    names = rows.locator("th button").all_inner_texts()
    return list(zip(names, map(float, rows.locator("td:nth-child(2)").all_inner_texts()), strict=True))


def test_the_list_is_sorted_filtered_kept_and_exported(page: Page, examples: Path) -> None:
    files = [examples / name for name in ("1_clean.flac", "2_office_noise.flac", "7_hall_overdriven.flac")]
    page.set_input_files("#score-files", files)
    page.get_by_text("Scored 3 of 3.").wait_for()
    scores = [score for _, score in listed(page)]
    assert scores == sorted(scores), "worst first"
    mean = page.locator("p.mean")
    assert float(re.search(r"\d\.\d\d", mean.inner_text())[0]) == pytest.approx(sum(scores) / 3, abs=0.011)  # type: ignore[index]
    assert "of 3 recordings: " in page.locator(".histogram").get_attribute("aria-label")
    assert page.locator(".histogram .bin").count() == 16
    page.get_by_role("button", name="Sort by recording").click()
    assert [name for name, _ in listed(page)] == [file.name for file in files]
    page.get_by_role("button", name="Sort by N-MOS").press("Enter")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("N")
    assert page.evaluate("document.activeElement.ariaLabel") == "Sort by N-MOS", "the focus stays"
    page.get_by_label("Name contains").first.fill("OFFICE")
    assert [name for name, _ in listed(page)] == ["2_office_noise.flac"]
    page.get_by_label("Name contains").first.fill("")
    page.get_by_label("Flag").first.select_option("clipped")
    assert [name for name, _ in listed(page)] == ["7_hall_overdriven.flac"]
    page.get_by_label("Flag").first.select_option("any")
    page.get_by_label("G-MOS at most").first.fill(f"{min(scores) + 0.01:.2f}")
    assert [score for _, score in listed(page)] == [min(scores)]
    with page.expect_download() as loading:
        page.get_by_role("button", name="HTML report").click()
    report = Path(loading.value.path()).read_text()
    assert f">{min(scores):.2f}<" in report
    assert report.count('scope="row"') == 1, "the report has what is listed"
    with page.expect_response("**/v1/models"):
        page.reload()
    until(page, lambda: page.locator("#recordings tbody tr").count() == 3)
    page.wait_for_selector(".plots .wave")  # the recordings are kept, too
    page.get_by_role("button", name="Remove 1_clean.flac from the list").click()
    assert page.locator("#recordings tbody tr").count() == 2
    page.get_by_role("button", name="Remove all").click()
    assert not page.locator("#list").is_visible()


def test_scrubbing_playing_and_the_worst_stretch(page: Page, examples: Path, tmp_path: Path) -> None:
    clean, rate = sf.read(examples / "1_clean.flac", dtype="float32")
    noisy, _ = sf.read(examples / "3_crowd.flac", dtype="float32")
    sf.write(tmp_path / "both.wav", list(clean) + list(clean) + list(noisy) + list(noisy), rate)
    page.set_input_files("#score-files", tmp_path / "both.wav")
    page.wait_for_selector(".plots .wave")
    slider = page.get_by_role("slider", name="Position in both.wav")
    box = page.locator(".plots").bounding_box()
    page.locator(".plots").click(position={"x": box["width"] / 2, "y": 20})
    half = float(slider.get_attribute("max")) / 2
    assert float(slider.input_value()) == pytest.approx(half, abs=0.2)
    labels = page.locator(".axis span").all_inner_texts()
    assert labels[0] == "0:00"
    assert len(labels) >= 5
    box = page.locator(".plots").bounding_box()  # the click scrolled the page
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 20)
    values = page.locator(".values").inner_text()
    assert re.match(r"At 0:(\d+\.\d): S-MOS \d\.\d\d, N-MOS \d\.\d\d, G-MOS", values), values
    assert float(values[5:9]) == pytest.approx(1.5 * half, abs=0.2)
    page.mouse.move(0, 0)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert "G-MOS" in slider.get_attribute("aria-valuetext"), "the values can be read without a pointer"
    assert float(slider.input_value()) == pytest.approx(half + 0.1, abs=0.11)
    head = page.locator(".playhead").bounding_box()
    assert head["x"] == pytest.approx(box["x"] + box["width"] / 2, abs=box["width"] / 50)
    page.get_by_role("button", name="Play", exact=True).click()
    until(page, lambda: float(slider.input_value()) > half + 0.4)
    page.get_by_role("button", name="Pause").click()
    worst = page.locator("#worst")
    start_s = float(re.search(r"0:(\d+\.\d)", worst.inner_text())[1])  # type: ignore[index]
    assert start_s > half - 3, "the crowd is in the second half"
    worst.click()
    until(page, lambda: start_s <= float(slider.input_value()) < start_s + 3)
    page.get_by_role("button", name="Pause").wait_for()


def test_downloads_contain_what_is_shown(page: Page, examples: Path, tmp_path: Path) -> None:
    samples, rate = sf.read(examples / "1_clean.flac", dtype="float32")
    sf.write(tmp_path / "=offset.wav", 0.5 * samples + 0.2, rate)
    page.set_input_files("#score-files", tmp_path / "=offset.wav")
    page.wait_for_selector(".plots .wave")
    assert "dc: constant offset" in page.locator("#report .flags").inner_text()
    contents = {}
    for button in ("CSV", "JSON", "Picture"):
        with page.expect_download() as loading:
            page.get_by_role("button", name=button, exact=True).click()
        contents[loading.value.suggested_filename] = Path(loading.value.path()).read_bytes()
    assert contents["=offset.png"].startswith(b"\x89PNG")
    (row,) = csv.DictReader(io.StringIO(contents["scores.csv"].decode()))
    assert row["file"] == "'=offset.wav", "no formula for a spreadsheet"
    for key in KEYS:
        value = page.locator(f"[data-score={key}]").get_attribute("data-value")
        assert float(row[key]) == float(value)
        assert f'"{key}": {value}'.encode() in contents["=offset.json"]


def test_a_recording_that_is_chosen_before_the_page_knows_its_server_is_scored(page: Page, examples: Path) -> None:
    held: list[Any] = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.reload()
    page.set_input_files("#score-files", [examples / "1_clean.flac"])
    until(page, lambda: bool(held))
    held[0].continue_()
    page.get_by_text("Scored 1 of 1.").wait_for()


def test_what_cannot_be_scored_is_reported_and_odd_formats_are_heard(
    page: Page, bad_files: dict[str, Path], examples: Path, tmp_path: Path
) -> None:
    samples, rate = sf.read(examples / "1_clean.flac", dtype="float32")
    sf.write(tmp_path / "odd.w64", samples, rate)  # no browser knows Wave64: the server makes it FLAC
    page.set_input_files("#score-files", [bad_files["silent"], tmp_path / "odd.w64"])
    page.get_by_text("Scored 1 of 2; 1 could not be scored.").wait_for()
    page.get_by_role("button", name="silent.wav", exact=True).click()
    assert "silent: its loudest" in page.locator("#report .problem").inner_text()
    page.get_by_role("button", name="odd.w64", exact=True).click()
    page.wait_for_selector(".plots .wave")


def test_a_against_b(page: Page, examples: Path, tmp_path: Path) -> None:
    samples, rate = sf.read(examples / "1_clean.flac", dtype="float32")
    sf.write(tmp_path / "quiet.wav", samples / 2, rate)
    page.get_by_role("link", name="Compare").click()
    drop(page, "#drop-a", examples / "2_office_noise.flac")
    drop(page, "#drop-b", tmp_path / "quiet.wav")
    page.get_by_role("radio", name="A").wait_for()
    assert "B is better on N-MOS" in page.locator("#compare-status").inner_text()
    assert page.locator("#numbers tbody tr").count() == 6
    assert re.search(r"A is played \d\.\d dB quieter", page.locator("#compared").inner_text())
    assert page.locator(".dot.hollow").count() == 6, "one pair has no interval"
    page.get_by_role("slider", name="Position in A").fill("2")
    page.locator("body").press("b")
    assert page.get_by_role("radio", name="B").is_checked()
    assert float(page.get_by_role("slider", name="Position in B").input_value()) == pytest.approx(2, abs=0.1)
    page.get_by_label("Match levels").uncheck()
    assert "Both are played unchanged" in page.locator("#compared").inner_text()
    accessible(page, "compare")


def test_two_systems_by_sentence_and_blind(page: Page, examples: Path, tmp_path: Path) -> None:
    sides: dict[str, list[Path]] = {"a": [], "b": []}
    sources = {"a": "2_office_noise.flac", "b": "1_clean.flac"}
    for side, source in sources.items():
        (tmp_path / side).mkdir()
        samples, rate = sf.read(examples / source, dtype="float32")
        for number in range(3):
            sides[side].append(tmp_path / side / f"{number}.wav")
            sf.write(sides[side][-1], samples[number * 4000 : number * 4000 + 3 * rate], rate)
    page.get_by_role("link", name="Compare").click()
    page.set_input_files("#files-a", sides["a"])
    page.set_input_files("#files-b", sides["b"])
    rows = page.locator("#sentences tbody tr")
    rows.first.wait_for()
    assert rows.count() == 3
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    changes = [float(change) for _, _, change, _ in cells]
    assert changes == sorted(changes), "the largest decrease first"
    for a, b, change, _ in cells:
        assert float(change) == pytest.approx(float(b) - float(a), abs=0.011)
    page.get_by_role("button", name="Play B of 1").click()
    page.get_by_role("radio", name="B").wait_for()
    until(page, lambda: float(page.get_by_role("slider", name="Position in B").input_value()) > 0.3)
    accessible(page, "compare-systems")
    page.get_by_role("button", name="Blind test").click()
    page.get_by_role("button", name="▶ 1").wait_for()
    assert page.locator("#sentences").count() == 0, "the scores are hidden"
    for number in range(3):
        page.get_by_text(f"Sentence {number + 1} of 3").wait_for()
        page.get_by_role("button", name="▶ 2").click()
        page.get_by_text("2 is playing").wait_for()
        page.get_by_role("button", name="No difference" if number == 2 else "1 is better").click()
    result = page.locator("#blind-result").inner_text()
    votes = [int(number) for number in re.findall(r"(\d+) times", result)]
    assert sum(votes) == 2
    assert f"{1.0 if votes[0] == 1 else 0.5:.2f} (sign test)" in result
    accessible(page, "compare-blind")
    page.get_by_role("button", name="Show the scores").click()
    rows.first.wait_for()


def on_the_server(page: Page) -> None:
    """Select scoring on the server, where the page offers the browser, too."""
    if BROWSER_BUILT:
        page.locator("#live-where").select_option("server")


@pytest.mark.skipif(not BROWSER_BUILT, reason="no files for scoring in the browser: `npm run build` in web/")
def test_scores_in_the_browser(page: Page, examples: Path, run: Run) -> None:
    """The same scores without an upload; live sound in the browser is the default."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    page.on("websocket", lambda socket: sent.append(socket.url))
    (row,) = csv.DictReader(io.StringIO(run("score", examples / "2_office_noise.flac").stdout))
    page.locator("#score-where").select_option("browser")
    drop(page, "#score-drop", examples / "2_office_noise.flac")
    page.get_by_text("Scored 1 of 1.").wait_for()
    page.get_by_text("Estimates: PESQ, STOI, SDI").click()
    for target in TARGETS:
        value = float(page.locator(f"[data-score={target.key}]").get_attribute("data-value"))
        assert value == pytest.approx(float(row[target.key]), abs=0.03), target.key
    accessible(page, "score-browser")
    page.get_by_role("link", name="Live").click()
    page.get_by_role("button", name="Start listening").click()
    page.wait_for_selector("#live-gauges [data-score=g_mos]")
    accessible(page, "live-browser")
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_text("Stopped after").wait_for()
    assert sent == []


def test_live_sound_from_the_microphone(page: Page) -> None:
    page.get_by_role("link", name="Live").click()
    on_the_server(page)
    page.get_by_label("Source label").fill("browser")
    until(page, lambda: page.locator("#live-device option").count() > 1)
    page.get_by_label("Input device").select_option(index=1)
    page.get_by_role("button", name="Start listening").click()
    page.wait_for_selector("#live-gauges [data-score=g_mos]")
    gauge = page.locator("#live-gauges [data-score=g_mos]")
    first = gauge.get_attribute("data-value")
    until(page, lambda: gauge.get_attribute("data-value") != first)
    assert -50 < float(page.locator("#live-level").evaluate("meter => meter.value")) < 0
    accessible(page, "live")
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_text("Stopped after").wait_for()
    page.get_by_role("link", name="History").click()
    page.get_by_text("microphone (live)").first.wait_for()


def test_drops_of_quality_are_marked(page: Page) -> None:
    """A replacement of the service sends scores, because those of a microphone are not known in advance."""
    scores = [3.5] * 10 + [2.4] * 5 + [3.4] * 5

    def answer(socket: Any) -> None:
        for number, g_mos in enumerate(scores, 1):
            row = {
                "kind": "scores",
                "start_s": 0,
                "end_s": number,
                "flags": [],
                "error": None,
                "behind_s": 0,
                "g_mos": g_mos,
            }
            socket.send(json.dumps(row))

    page.route_web_socket("**/v1/stream", answer)
    page.get_by_role("link", name="Live").click()
    on_the_server(page)
    page.get_by_role("button", name="Start listening").click()
    drops = page.locator("#live-drops li")
    drops.first.wait_for()
    until(page, lambda: "until" in drops.first.inner_text())
    assert drops.all_inner_texts() == ["0:11.0: G-MOS fell from 3.50 to 2.40, until 0:16.0"]
    assert "1 drops" in page.locator("#live-lines canvas").get_attribute("aria-label")
    shot(page, "live-drops")
    page.get_by_role("button", name="Stop listening").click()


def test_a_recording_from_the_microphone(page: Page) -> None:
    page.get_by_role("button", name="Record from the microphone").click()
    page.get_by_text("Recording…").wait_for()
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Stop and score").click()
    page.get_by_role("heading", name="recording-1.wav").wait_for()
    page.wait_for_selector("[data-score=g_mos]")
    assert float(page.locator("[data-score=n_mos]").get_attribute("data-value")) < 4, "the office noise was scored"


def test_history_its_filters_and_rows(page: Page, serving: Server, examples: Path) -> None:
    sound = (examples / "1_clean.flac").read_bytes()
    with serving.client() as client:
        for name, source in (("<b>row-first", "trend"), ("row-second", "trend"), ("row-third", "other site")):
            asked: dict[str, str | bool] = {
                "name": f"{name}.flac",
                "source": source,
                "keep_audio": "third" in name,
            }
            client.post("/v1/score", content=sound, params=asked)
    page.get_by_role("link", name="History").click()
    page.get_by_label("Name contains").last.fill("row-")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_text("3 rows.", exact=True).wait_for()
    rows = page.locator("#rows tbody tr[data-id]")
    assert rows.count() == 3
    assert "<b>row-first.flac" in rows.last.inner_text(), "names are text, not markup"
    assert "3 scores" in page.locator("#trend canvas.trend").get_attribute("aria-label")
    legend = page.locator("#trend .legend li").all_inner_texts()
    assert [text.split(":")[0] for text in legend] == ["trend", "other site"]
    accessible(page, "history")
    page.set_viewport_size(PHONE)
    assert rows.first.locator("td.number:visible").count() == 3, "S-, N- and G-MOS are visible on a phone"
    box = rows.first.locator("td.number:visible").last.bounding_box()
    assert box["x"] + box["width"] <= PHONE["width"]
    page.set_viewport_size({"width": 1180, "height": 900})
    page.get_by_role("button", name="row-third.flac").press("Enter")
    page.locator(".opened .verdict").wait_for()
    page.get_by_role("button", name="Play the recording").click()
    page.locator(".opened audio").wait_for()
    accessible(page, "history-row")
    page.get_by_role("button", name="Delete this row").click()
    page.get_by_role("button", name="Delete now").click()
    page.get_by_text("was deleted. 2 rows.").wait_for()
    assert rows.count() == 2
    with serving.client() as client:
        assert len(client.get("/v1/history", params={"file": "row-"}).json()["rows"]) == 2


def test_documentation_of_the_interface(page: Page, serving: Server, examples: Path) -> None:
    page.get_by_role("link", name="Documentation of the interface").click()
    page.get_by_role("heading", name="POST /v1/score").wait_for()
    with serving.client() as client:
        document = client.get("/v1/openapi.json").json()
    endpoints = [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]
    assert page.locator("#endpoints h2").all_inner_texts() == endpoints
    links = page.locator("main a[href^='#type-']").evaluate_all("links => links.map(link => link.hash.slice(1))")
    there = set(page.locator("h3[id^=type-]").evaluate_all("titles => titles.map(title => title.id)"))
    assert set(links) <= there
    page.get_by_text("Try POST /v1/score").click()
    form = page.locator("details[open] form")
    form.locator("input[type=file]").set_input_files(examples / "1_clean.flac")
    form.get_by_role("button", name="Send").click()
    answer = page.get_by_role("region", name="Answer of post /v1/score")
    until(page, lambda: answer.inner_text().startswith("200"))
    with serving.client() as client:
        scored = client.post("/v1/score", content=(examples / "1_clean.flac").read_bytes()).json()
    assert f'"g_mos": {scored["g_mos"]}' in answer.inner_text()
    accessible(page, "docs")


def test_every_view_is_reached_by_keyboard(page: Page) -> None:
    page.locator("#record").wait_for()  # the view is shown after the server has sent its models
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert reached[:5] == ["Score", "Compare", "Live", "History", "model"]
    assert {"score-files", "record"} <= set(reached)


@pytest.fixture
def recordings(examples: Path, tmp_path: Path) -> Path:
    """Forty recordings of which seven are bad, two systems, a long call, and a call with two channels."""
    sources = {
        name: sf.read(examples / f"{name}.flac", dtype="float32")[0]
        for name in ("1_clean", "3_crowd", "7_hall_overdriven")
    }
    rate = 16_000
    (tmp_path / "forty").mkdir()
    for number in range(40):
        kind = "1_clean" if number % 6 else "3_crowd" if number % 12 else "7_hall_overdriven"
        start = 800 * (number % 20)
        sf.write(tmp_path / "forty" / f"{number:02d}.wav", sources[kind][start : start + 2 * rate], rate)
    for side, kind in (("suppressor_1", "2_office_noise"), ("suppressor_2", "4_crowd_noise_reducer")):
        (tmp_path / side).mkdir()
        samples = sf.read(examples / f"{kind}.flac", dtype="float32")[0]
        for number in range(8):
            sf.write(
                tmp_path / side / f"sentence_{number}.wav", samples[1600 * number : 1600 * number + 2 * rate], rate
            )
    clean, crowd = sources["1_clean"], sources["3_crowd"]
    sf.write(tmp_path / "call.wav", np.concatenate([clean, clean, crowd[: 4 * rate], clean, clean, clean]), rate)
    sf.write(tmp_path / "long.wav", np.tile(clean, 12)[: 55 * rate], rate)
    sf.write(tmp_path / "two_speakers.wav", np.stack([clean[: 4 * rate], crowd[: 4 * rate]], axis=1), rate)
    return tmp_path


def test_ten_tasks_with_the_page_alone(page: Page, recordings: Path) -> None:
    """Each step is located by its visible text. With MTQNET_SCREENSHOTS, axe checks each result in each mode."""
    button = page.get_by_role
    inspect = accessible if SHOTS else shot  # the same views have axe checks above
    # 1: what does the page show, without a recording of one's own?
    button("button", name="office noise").click()
    page.get_by_text("Scored 1 of 1.").wait_for()
    assert re.match(r"(Fair|Good)\. .*noise", page.locator("#verdict").inner_text())
    page.wait_for_selector(".plots .wave")
    inspect(page, "task01-example")
    # 2: score a call; how good is it, what is wrong, and where?
    button("button", name="Remove all", exact=True).click()
    page.set_input_files("#score-files", recordings / "call.wav")
    page.get_by_text("Scored 1 of 1.").wait_for()
    assert "Worst from" in page.locator("#verdict").inner_text()
    page.wait_for_selector(".segments button")
    inspect(page, "task02-call")
    # 3: listen to the worst segment, by keyboard
    page.locator("#worst").press("Enter")
    button("button", name="Pause").wait_for()
    worst_s = float(re.search(r"0:(\d+\.\d)", page.locator("#worst").inner_text())[1])  # type: ignore[index]
    assert 6 < worst_s < 14, "the crowd is there"
    inspect(page, "task03-worst-segment")
    # 4: zoom in and read the values at a moment
    for _ in range(2):
        button("button", name="Zoom in in call.wav").click()
    assert page.locator(".overview .window").is_visible()
    box = page.locator(".plots").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 30)
    assert "G-MOS" in page.locator(".tip").inner_text()
    button("slider", name="Visible part of call.wav").press("ArrowRight")
    inspect(page, "task04-zoom")
    # 5: cancel the scoring of long recordings
    page.set_input_files("#score-files", [recordings / "long.wav"] * 3)
    button("button", name="Cancel").click()
    page.get_by_text("Cancelled:").wait_for()
    inspect(page, "task05-cancel")
    # 6: which speaker of a call with two channels sounds worse?
    button("button", name="Remove all").click()
    page.locator("#channels").select_option("each")
    page.set_input_files("#score-files", recordings / "two_speakers.wav")
    page.get_by_text("Scored 1 of 1.").wait_for()
    assert [name for name, _ in listed(page)] == [f"two_speakers.wav (channel {number})" for number in (2, 1)]
    page.wait_for_selector(".plots .wave")
    inspect(page, "task06-channels")
    # 7: find the bad files among forty
    button("button", name="Remove all").click()
    page.locator("#channels").select_option("mix")
    page.set_input_files("#score-files", sorted((recordings / "forty").iterdir()))
    page.get_by_text("Scored 40 of 40.").wait_for()
    bad = {f"{number:02d}.wav" for number in range(0, 40, 6)}
    assert {name for name, _ in listed(page)[:7]} == bad
    inspect(page, "task07-forty")
    # 8: which of them are clipped? A report for a colleague
    page.get_by_label("Flag").first.select_option("clipped")
    assert {name for name, _ in listed(page)} <= bad
    with page.expect_download() as loading:
        button("button", name="HTML report").click()
    assert loading.value.suggested_filename == "report.html"
    inspect(page, "task08-flag")
    # 9: which of two suppressors is better, and by how much?
    button("link", name="Compare").click()
    for side, name in (("a", "suppressor_1"), ("b", "suppressor_2")):
        page.set_input_files(f"#files-{side}", sorted((recordings / name).iterdir()))
    page.locator("#sentences tbody tr").first.wait_for()
    assert "B is worse than A on" in page.locator("#compare-status").inner_text()
    button("button", name="Play B of").first.click()
    button("radio", name="B").wait_for()
    inspect(page, "task09-suppressors")
    # 10: which of them do I prefer, without knowing which one it is?
    button("button", name="Blind test").click()
    button("button", name="▶ 1").click()
    page.get_by_text("1 is playing").wait_for()
    inspect(page, "task10-blind")
    button("button", name="1 is better").click()
    button("button", name="End the test").click()
    page.get_by_text("You preferred").wait_for()
