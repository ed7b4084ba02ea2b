"""Pictures of the documentation from the shipped models: make pictures (needs Chromium).

Writes page.png, plot.png and terminal.png of docs/images from the example recordings.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile as sf
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs/images"
RECORDINGS = ROOT / "examples/recordings"
COLOURS = 64
"""Colours of a stored picture: a third of the size"""
THEME = TerminalTheme(
    (27, 31, 36),
    (232, 235, 238),
    [(60, 60, 60), (255, 123, 104), (111, 211, 155), (232, 182, 74), (124, 192, 238), (220, 140, 220), (100, 200, 200),
     (220, 220, 220)],
)  # fmt: skip
TERMINAL = (
    "<html><body style='background:#1b1f24;color:#e8ebee;margin:0;display:inline-block'>"
    "<pre style=\"font:15px/1.35 'DejaVu Sans Mono',monospace;padding:14px;margin:0\">{code}</pre></body></html>"
)


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("error: no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        _terminal(browser)
        _plot(Path(folder))
        _page(browser, Path(folder))
        browser.close()


def _mtqnet(*arguments: str | Path, **environment: str) -> str:
    command = [sys.executable, "-m", "mtqnet", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _on_terminal(*arguments: str) -> str:
    """Output with a pseudo terminal of 110 columns as standard output."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "110"}
    with subprocess.Popen(
        [sys.executable, "-m", "mtqnet", *arguments], cwd=ROOT, env=environment, stdout=follower
    ):
        os.close(follower)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(leader, 1 << 16):
                shown += piece
    os.close(leader)
    return shown.decode().replace("\r\n", "\n")


def _store(png: bytes, name: str) -> None:
    picture = (
        Image.open(io.BytesIO(png)).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS)
    )
    picture.save(IMAGES / name, optimize=True)
    print(f"{IMAGES.relative_to(ROOT) / name}: {picture.width} x {picture.height}")


def _terminal(browser: Browser) -> None:
    table = _on_terminal("score", "examples/recordings")
    console = Console(record=True, width=118, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ mtqnet score examples/recordings", style="bold"))
    console.print(Text.from_ansi(table))
    tab = browser.new_page(viewport={"width": 1200, "height": 500})
    tab.set_content(console.export_html(inline_styles=True, theme=THEME, code_format=TERMINAL))
    _store(tab.locator("pre").screenshot(), "terminal.png")
    tab.close()


def _call(folder: Path) -> Path:
    """A call of 13 s in which a crowd is audible for 4.5 s."""
    clean, rate = sf.read(RECORDINGS / "1_clean.flac", dtype="float32")
    crowd, _ = sf.read(RECORDINGS / "3_crowd.flac", dtype="float32")
    path = folder / "call.wav"
    sf.write(path, np.concatenate([clean, crowd, clean]), rate)
    return path


def _plot(folder: Path) -> None:
    _mtqnet("plot", _call(folder), "--output", folder / "plot.png")
    _store((folder / "plot.png").read_bytes(), "plot.png")


def _page(browser: Browser, folder: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "mtqnet", "serve", "--port", "0"],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"MTQNET_DATABASE": f"sqlite:///{folder / 'history.sqlite'}"},
    )  # fmt: skip
    assert server.stderr is not None
    try:
        found = next(filter(None, (re.search(r"listens at (\S+)", line) for line in server.stderr)), None)
        if found is None:
            raise SystemExit("error: mtqnet serve did not start")
        tab = browser.new_page(viewport={"width": 1180, "height": 900}, color_scheme="light")
        tab.set_default_timeout(120_000)
        tab.goto(found[1])
        tab.locator("#record").wait_for()
        tab.set_input_files("#score-files", _call(folder))
        tab.wait_for_selector(".plots .wave")
        tab.wait_for_timeout(1000)  # bars move for 0.3 s
        _store(tab.screenshot(full_page=True), "page.png")
    finally:
        server.terminate()
        server.wait(60)
        server.stderr.close()


if __name__ == "__main__":
    main()
