"""docker-compose.yml is valid, confines its containers, and agrees with its mounted files and the settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.docker.conftest import AT_REST_BYTES, DOCKER, GIB, find, held_bytes, needs

FILE = REPOSITORY / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
PROFILES = {
    None: {"cpu", "prometheus", "grafana"},
    "gpu": {"gpu"},
    "paddle": {"paddle"},
    "scale": {"replica", "balancer"},
}
DEFAULTS = Settings.model_construct()


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


@needs("check-jsonschema")
def test_the_file_fits_the_compose_specification() -> None:
    command = [str(find("check-jsonschema")), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs("docker-compose")
def test_docker_compose_understands_every_profile() -> None:
    chosen = [part for profile in PROFILES if profile for part in ("--profile", profile)]
    command = ["docker-compose", *chosen, "config", "--quiet"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_profile_starts_its_containers() -> None:
    for profile, names in PROFILES.items():
        assert {n for n, s in SERVICES.items() if s.get("profiles") == (profile and [profile])} == names
    assert SERVICES["replica"]["deploy"]["replicas"] > 1
    for name in ("gpu", "paddle"):
        (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
    ports = [port.rpartition(":")[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(set(ports)) == len(ports)  # profiles may be combined


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_pinned_confined_limited_and_checked(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+", service["image"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    if name in OURS:
        assert "HEALTHCHECK" in (REPOSITORY / service["build"]["dockerfile"]).read_text()
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_replica_has_time_to_drain_memory_for_its_queue_and_one_thread_per_core(name: str) -> None:
    service = SERVICES[name]
    assert seconds(service["stop_grace_period"]) >= DEFAULTS.drain_timeout_s + 15
    settings = {key.removeprefix("TELESCOPE_").lower(): value for key, value in service["environment"].items()}
    assert settings.keys() <= Settings.model_fields.keys()
    assert not settings.keys() & {"drain_timeout_s", "drain_grace_s"}  # the first assertion uses the defaults
    limits = service["deploy"]["resources"]["limits"]
    assert int(limits["memory"].removesuffix("G")) * GIB >= AT_REST_BYTES + held_bytes()
    assert settings["threads"] == limits["cpus"]


def test_the_balancer_waits_longer_than_any_request() -> None:
    longest_s = DEFAULTS.request_timeout_ms / 1000
    text = (DOCKER / "haproxy" / "haproxy.cfg").read_text()
    timeouts = {kind: seconds(found) for kind, found in re.findall(r"timeout (\w+) (\d+s)", text)}
    assert timeouts["server"] > longest_s
    assert timeouts["client"] > longest_s
    assert seconds(SERVICES["balancer"]["stop_grace_period"]) > longest_s


def test_mounted_files_scraped_services_and_balanced_replicas_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (REPOSITORY / source).exists()
    scraped = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())["scrape_configs"][0]
    assert set(scraped["dns_sd_configs"][0]["names"]) == OURS
    assert "replica:8000" in (DOCKER / "haproxy" / "replicas.cfg").read_text()
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    provider = yaml.safe_load((DOCKER / "grafana" / "provisioning" / "dashboards" / "telescope.yml").read_text())
    assert str(home.parent) == provider["providers"][0]["options"]["path"]
    assert (DOCKER / "grafana" / "dashboards" / home.name).exists()
