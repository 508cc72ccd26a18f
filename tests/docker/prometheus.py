"""Debian's Prometheus with the project's rules, which scrapes services on loopback addresses."""

import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.app.process import wait_until
from tests.docker.conftest import DOCKER

RULES = ("recording.yml", "alerts.yml")


class Prometheus:
    """Prometheus with docker/prometheus/prometheus.yml, but an interval of half a second instead of five."""

    def __init__(self, folder: Path, *targets: str) -> None:
        config = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        config["rule_files"] = [str(DOCKER / "prometheus" / name) for name in config["rule_files"]]
        (job,) = config["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets)}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        address = f"127.0.0.1:{free_port()}"
        self._log = (folder / "log").open("w")
        self._popen = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            stderr=self._log,
        )
        self._client = httpx.Client(base_url=f"http://{address}", timeout=30)
        wait_until(self._ready, 30)

    def _ready(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        response = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert response["status"] == "success", f"{expression}: {response}"
        return list(response["data"]["result"])

    def stop(self) -> None:
        self._client.close()
        self._popen.terminate()
        self._popen.wait(30)
        self._log.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return int(opened.getsockname()[1])


def with_bool_comparisons(alert: str) -> str:
    """The condition of an alert with comparisons that return 0 or 1 instead of dropping series.

    It returns a value whether or not the alert fires, if every metric in it exists.
    """
    return re.sub(r"(?<![=!])(==|!=|>=|<=|>|<)(?!~)", r"\1 bool", alert)


def rules(kind: str) -> dict[str, str]:
    """Name -> expression of each rule of a kind, "record" or "alert"."""
    files = [yaml.safe_load((DOCKER / "prometheus" / name).read_text()) for name in RULES]
    return {
        rule[kind]: rule["expr"]
        for file in files
        for group in file["groups"]
        for rule in group["rules"]
        if kind in rule
    }
