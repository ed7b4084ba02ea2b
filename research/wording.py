"""Count words of the project's former dialect per 1,000 words of prose, and compare the rates with a budget.

    python -m research.wording [ROOT]

Prose is Markdown outside code blocks, and comments and strings with a space in Python files. The words are not wrong
as such; a high rate shows texts that strangers have to read twice. Reference: whisper 2.3, httpx 1.9, torchmetrics
0.8. Exit code 1 if a group exceeds its budget.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

WORDS = re.compile(
    r"\b(says?|said|told|tells?|heard|hears?|hold|holds|held|stands?|stays?|lies|asked|asks|made|given|gives?|gave|"
    r"anew|beside|nothing|none|whoever|whatever|mend|talker|wanted|found)\b",
    re.IGNORECASE,
)
MARKDOWN_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
BUDGETS = {
    "README.md": 5.0, "CONTRIBUTING.md": 5.0, "docs": 5.0, "src": 6.0, "tests": 8.0, "benchmarks": 6.0, "research": 6.0,
}  # fmt: skip
"""Occurrences per 1,000 words that a group of files may have"""


@dataclass(frozen=True)
class Rate:
    """Occurrences of the counted words in the prose of a group of files."""

    words: int
    hits: Counter[str]

    @property
    def per_1000(self) -> float:
        return 1000 * self.hits.total() / max(1, self.words)


def prose(path: Path) -> str:
    """Return the prose of a Markdown, template or Python file."""
    text = path.read_text(errors="replace")
    return _python_prose(text) if path.suffix == ".py" else MARKDOWN_CODE.sub(" ", text)


def rates(root: Path) -> dict[str, Rate]:
    """Return the rate of each top-level file and folder under version control."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files"], capture_output=True, text=True, check=True)
    texts: dict[str, list[str]] = {}
    for name in listed.stdout.splitlines():
        path = root / name
        if path.suffix in {".py", ".md", ".j2"} and path.is_file():
            texts.setdefault(Path(name).parts[0], []).append(prose(path))
    return {group: _rate(" ".join(parts)) for group, parts in texts.items()}


def main() -> int:
    """Print the rates and return the exit code."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    exceeded = False
    for group, rate in sorted(rates(root).items()):
        budget = BUDGETS.get(group)
        over = budget is not None and rate.per_1000 > budget
        exceeded |= over
        common = ", ".join(f"{word} {count}" for word, count in rate.hits.most_common(6))
        limit = "" if budget is None else f" of at most {budget:g}" + (": EXCEEDED" if over else "")
        print(f"{group:20} {rate.words:7} words {rate.per_1000:5.1f} per 1,000{limit}   {common}")
    return int(exceeded)


def _rate(text: str) -> Rate:
    hits = Counter(match.lower() for match in WORDS.findall(text))
    return Rate(len(re.findall(r"[A-Za-z]+", text)), hits)


def _python_prose(text: str) -> str:
    parts = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            parts.append(token.string)
    return " ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
