"""Write docs/cli.md, the reference of the command line, from the commands themselves.

python -m research.cli_reference > docs/cli.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from mtqnet.cli.app import app

HEAD = """# Command line

Generated from the commands by `python -m research.cli_reference`; edit the help texts in `src/mtqnet/cli/`.

`mtqnet COMMAND --help` prints the same text. `mtqnet --install-completion` installs completion for your shell.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | some recordings were not scored: the column `error` gives the reason for each |
| 2 | wrong use: arguments, input tables, the model or a missing optional package; the message says which |
| 3 | a gate failed: a limit of `mtqnet gate` is not met, or a fine-tuned model is not better than before |
"""


def reference() -> str:
    """Return the page as Markdown."""
    root: Any = typer.main.get_command(app)
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        groups.setdefault(str(command.rich_help_panel or "Commands"), []).append((name, command))
    lines = [HEAD]
    for group, commands in groups.items():
        lines.append(f"## {group}\n")
        for name, command in commands:
            for path, leaf in _leaves(f"mtqnet {name}", command):
                lines += _section(path, leaf)
    return "\n".join(lines).rstrip() + "\n"


def count() -> tuple[int, int]:
    """Return the number of commands, and of options without --help and --version."""
    root: Any = typer.main.get_command(app)
    leaves = [leaf for name, command in root.commands.items() for leaf in _leaves(name, command)]
    return len(root.commands), sum(len(_options(leaf)) for _, leaf in leaves)


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, child in command.commands.items():
        yield from _leaves(f"{path} {name}", child)


def _section(path: str, command: Any) -> list[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    shown = " ".join(one.metavar or one.name.upper() for one in arguments)
    lines = [f"### {path}\n", f"`{path} {shown} [OPTIONS]`\n".replace("  ", " ")]
    examples: list[str] = []
    for paragraph in (command.help or "").split("\n\n"):
        if found := re.findall(r"\[cyan\](.*?)\[/\]", paragraph) if paragraph.startswith("[cyan]") else []:
            examples += found
        elif not re.fullmatch(r"\[bold\]Examples?\[/\]", paragraph):
            lines.append(f"{_plain(paragraph)}\n")
    rows = [(f"`{one.metavar or one.name.upper()}`", _plain(one.help or ""), "") for one in arguments]
    rows += [(_names(one), _plain(one.help or ""), _default(one)) for one in _options(command)]
    lines += ["| option | meaning | default |", "|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if examples:
        lines += ["", "```text", *(_plain(example, code=True) for example in examples), "```"]
    return [*lines, ""]


def _options(command: Any) -> list[Any]:
    return [
        one for one in command.params if one.param_type_name == "option" and one.name not in ("help", "version")
    ]


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in option.opts)


def _default(option: Any) -> str:
    shown, default = option.show_default, option.default
    if isinstance(shown, str):
        return shown
    if shown is False or default is None or default is False or default == "" or callable(default):
        return ""
    return f"`{default}`"


def _plain(text: str, code: bool = False) -> str:
    """Help text without the markup of rich; outside code, commands are set as code."""
    found = re.sub(r"\[cyan\](.*?)\[/\]", r"\1" if code else r"`\1`", text)
    found = re.sub(r"(?<!\\)\[/?(bold|cyan)?\]", "", found)
    return " ".join(found.replace("\\[", "[").split())


if __name__ == "__main__":
    print(reference(), end="")
