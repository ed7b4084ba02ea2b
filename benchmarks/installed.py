"""Bytes of distributions and all that they need, where this is run: python installed.py NAME ..."""

import json
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path


def closure(names: list[str]) -> dict[str, Distribution]:
    """Distributions by name: these and what they require, without extras."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another system or an older Python
            continue
        wanted = (line for line in found[name].requires or [] if "extra ==" not in line)
        waiting += [match[0] for line in wanted if (match := re.match(r"[A-Za-z0-9._-]+", line))]
    return found


def size(one: Distribution) -> int:
    """Bytes of its files, without what Python compiles. Of an editable one, those of the package it points to."""
    direct = json.loads(one.read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        found = find_spec(one.name)
        folders = found.submodule_search_locations if found else []
        inside = (path for folder in folders or [] for path in Path(folder).rglob("*"))
        return sum(path.stat().st_size for path in inside if path.is_file() and "__pycache__" not in path.parts)
    paths = [one.locate_file(path) for path in one.files or [] if "__pycache__" not in str(path)]
    return sum(path.stat().st_size for path in paths if path.is_file())  # type: ignore[attr-defined]


if __name__ == "__main__":
    print(json.dumps({name: size(found) for name, found in closure(sys.argv[1:]).items()}))
