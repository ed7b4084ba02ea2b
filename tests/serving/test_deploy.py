"""What lies in deploy/ names figures and settings that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mtqnet.serving.metrics import Metrics
from mtqnet.serving.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_the_dashboard_asks_for_figures_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    told = "".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    asked = set(re.findall(r"mtqnet_\w+", told))
    served = {name for metric in Metrics().registry.collect() for name in _names(metric.name, metric.type)}
    assert len(asked) > 10
    assert asked <= served


def _names(name: str, kind: str) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [name + ending for ending in endings.get(kind, [""])]


def test_unit_and_container_set_what_can_be_set() -> None:
    for name in ("mtqnet.service", "Containerfile"):
        text = (DEPLOY / name).read_text()
        found = set(re.findall(r"MTQNET_(\w+)=", text))
        assert found
        assert {one.lower() for one in found} <= set(Settings.model_fields)
