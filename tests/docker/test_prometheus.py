"""Rules, alerts and dashboard: their files are valid and agree with each other."""

import json
import subprocess
import sys

import yaml

from tests.docker.conftest import DOCKER, needs
from tests.docker.prometheus import rules

GRAFANA = DOCKER / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "telescope.json").read_text())


@needs("promtool")
def test_prometheus_accepts_its_configuration_and_every_alert_fires_when_it_should() -> None:
    folder = DOCKER / "prometheus"
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    tests = yaml.safe_load((folder / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert fired == set(rules("alert"))


def test_the_dashboard_is_the_output_of_its_program() -> None:
    program = [sys.executable, str(GRAFANA / "make_dashboard.py")]
    assert json.loads(subprocess.run(program, capture_output=True, check=True).stdout) == DASHBOARD


def test_the_panels_do_not_overlap_and_use_the_provisioned_data_source() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]} == {
        source["datasources"][0]["uid"]
    }
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
