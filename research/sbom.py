"""Software bill of materials (CycloneDX) of an installation, with the weights as components, and a list of licences.

    python -m research.sbom --python .venv-sbom/bin/python --output docs/results      (make sbom)

The packages of the given interpreter are listed by `cyclonedx-py` (package cyclonedx-bom). The models of
src/mtqnet/weights are added with their digests and licences.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WEIGHTS = Path(__file__).resolve().parents[1] / "src/mtqnet/weights"
TOOLS = {"pip", "setuptools", "wheel", "cyclonedx-bom"}
"""Packages of the environment that mtqnet does not need"""


def packages(python: Path) -> dict[str, Any]:
    """Return the CycloneDX document of the packages of an interpreter."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--output-format", "JSON",
               "--output-reproducible"]  # fmt: skip
    document: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return document


def weights() -> list[dict[str, Any]]:
    """Return the shipped models as components."""
    return [
        {
            "type": "machine-learning-model",
            "name": path.name,
            "bom-ref": f"weights:{path.name}",
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
            "licenses": [{"license": {"id": "MIT"}}],
        }
        for path in sorted(WEIGHTS.iterdir())
        if path.suffix in {".onnx", ".safetensors"}
    ]


def licences(component: dict[str, Any]) -> str:
    """Return the licences of a component as text."""
    names = []
    for entry in component.get("licenses", ()):
        licence = entry.get("license", {})
        names.append(entry.get("expression") or licence.get("id") or licence.get("name", ""))
    return ", ".join(dict.fromkeys(name.splitlines()[0] for name in names if name)) or "not stated in the metadata"


def main() -> None:
    """Write sbom.json and licences.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the installation")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    document = packages(options.python)
    kept = [one for one in document["components"] if one["name"].lower() not in TOOLS | {"mtqnet"}]
    for one in kept:
        one.pop("externalReferences", None)
    document["components"] = kept + weights()
    names = {one["bom-ref"] for one in document["components"]}
    document["dependencies"] = [one for one in document.get("dependencies", ()) if one["ref"] in names]
    (options.output / "sbom.json").write_text(json.dumps(document, indent=1) + "\n")
    rows = [f"| {one['name']} | {one.get('version', '')} | {licences(one)} |" for one in document["components"]]
    head = "# Licences of the core installation\n\nWritten by `make sbom`; see also sbom.json.\n\n"
    table = "| component | version | licence |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    (options.output / "licences.md").write_text(head + table)


if __name__ == "__main__":
    main()
