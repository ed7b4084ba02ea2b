"""The files in deploy/ name existing metrics and settings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from mtqnet.serving.settings import Settings
from mtqnet.serving.state import Metrics

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def test_the_dashboard_asks_for_figures_that_exist() -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    told = "".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    asked = set(re.findall(r"mtqnet_\w+", told))
    served = {name for metric in Metrics().registry.collect() for name in _names(metric.name, metric.type)}
    assert len(asked) > 10
    assert asked <= served


def test_alert_rules_ask_for_figures_and_labels_that_exist() -> None:
    rules = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]
    metrics = Metrics()
    served = {name for metric in metrics.registry.collect() for name in _names(metric.name, metric.type)}
    asked = {name for rule in rules for name in re.findall(r"mtqnet_\w+", rule["expr"])}
    assert len(rules) >= 8
    assert asked <= served
    labels = {label for rule in rules for label in re.findall(r"[{,](\w+)=", rule["expr"])}
    assert labels <= {
        "job",
        *metrics.requests._labelnames,
        *metrics.refusals._labelnames,
        *metrics.latency._labelnames,
    }
    for rule in rules:
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["annotations"]["summary"]


def test_compose_file_mounts_files_that_exist() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"mtqnet", "prometheus", "grafana"}
    mounts = [mount.split(":")[0] for service in services.values() for mount in service["volumes"]]
    for mount in mounts:
        assert not mount.startswith(".") or (DEPLOY / mount).is_file(), mount
    assert (DEPLOY / services["mtqnet"]["build"]["context"] / services["mtqnet"]["build"]["dockerfile"]).is_file()
    settings = {name.removeprefix("MTQNET_").lower() for name in services["mtqnet"]["environment"]}
    assert settings <= set(Settings.model_fields)
    scraped = yaml.safe_load((DEPLOY / "monitoring/prometheus.yml").read_text())["scrape_configs"][0]
    assert scraped["job_name"] == "mtqnet"
    (target,) = scraped["static_configs"][0]["targets"]
    host = target.split(":")[0]
    assert host in services
    assert host in services["mtqnet"]["environment"]["MTQNET_ALLOWED_HOSTS"].split(",")


def _names(name: str, kind: str) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [name + ending for ending in endings.get(kind, [""])]


def test_unit_and_container_set_what_can_be_set() -> None:
    for name in ("mtqnet.service", "Containerfile"):
        text = (DEPLOY / name).read_text()
        found = set(re.findall(r"MTQNET_(\w+)=", text))
        assert found
        assert {one.lower() for one in found} <= set(Settings.model_fields)
