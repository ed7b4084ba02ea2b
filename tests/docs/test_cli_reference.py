"""docs/cli.md is the reference that the commands generate, and the number of options is limited."""

from __future__ import annotations

from pathlib import Path

from research import cli_reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert page == cli_reference.reference(), "run: python -m research.cli_reference > docs/cli.md"


def test_every_command_has_a_group_and_an_example() -> None:
    page = cli_reference.reference()
    assert "## Commands" not in page
    sections = page.split("\n### ")[1:]
    assert all("```text\nmtqnet " in section for section in sections), sections


def test_number_of_commands() -> None:
    commands, _ = cli_reference.count()
    assert commands <= 12
