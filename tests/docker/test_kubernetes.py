"""The Kubernetes manifests, rendered by kubectl, are valid and agree with the service's settings."""

import functools
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml

from app.settings import Settings
from tests.app.conftest import fake_store, png
from tests.app.process import Process
from tests.docker.conftest import AT_REST_BYTES, DOCKER, GIB, find, held_bytes, needs
from tests.docker.prometheus import rules
from tests.reliability.conftest import launch

__all__ = ["fake_store", "launch"]  # fixtures
pytestmark = needs("kubectl")

VARIANTS = ("base", "overlays/gpu", "overlays/hpa", "overlays/keda")
CUSTOM = {  # kind -> module with the schema of its operator
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
}
Manifest = dict[str, Any]
PNG = {"Content-Type": "image/png"}
DEFAULTS = Settings.model_construct()


@functools.cache
def rendered(variant: str) -> dict[str, Manifest]:
    """Kind -> manifest."""
    command = [str(find("kubectl")), "kustomize", str(DOCKER / "kubernetes" / variant)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    assert len({manifest["kind"] for manifest in found}) == len(found)
    return {manifest["kind"]: manifest for manifest in found}


def pod(variant: str) -> Manifest:
    return dict(rendered(variant)["Deployment"]["spec"]["template"]["spec"])


def container(variant: str) -> Manifest:
    (only,) = pod(variant)["containers"]
    return dict(only)


def invalid(manifest: Manifest) -> str:
    """The first violation of the schema, or ""; an unknown field is a violation, too."""
    kind = manifest["kind"]
    if kind not in CUSTOM:
        validator = pytest.importorskip("kubernetes_validate")
        try:
            validator.validate(manifest, validator.latest_version(), strict=True)
        except validator.ValidationError as exc:
            return str(exc.message)
        return ""
    model = getattr(pytest.importorskip(CUSTOM[kind]), kind)
    try:
        read = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
    except ValueError as exc:
        return str(exc)
    return "" if read == manifest else f"{manifest} was read as {read}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_fits_its_schema(variant: str) -> None:
    assert {kind: invalid(manifest) for kind, manifest in rendered(variant).items() if invalid(manifest)} == {}


@pytest.mark.parametrize("kind", ["Deployment", *CUSTOM])
def test_a_misspelt_field_would_be_noticed(kind: str) -> None:
    manifest = next(rendered(v)[kind] for v in reversed(VARIANTS) if kind in rendered(v))
    assert invalid(manifest | {"spec": manifest["spec"] | {"replicaz": 1}})


def test_each_variant_holds_its_manifests() -> None:
    base = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    monitored = base | {"ServiceMonitor"}
    assert {variant: set(rendered(variant)) for variant in VARIANTS} == {
        "base": base,
        "overlays/gpu": monitored,
        "overlays/hpa": monitored | {"HorizontalPodAutoscaler"},
        "overlays/keda": monitored | {"ScaledObject"},
    }
    assert container("overlays/gpu")["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for scaled in ("overlays/hpa", "overlays/keda"):
        assert "replicas" not in rendered(scaled)["Deployment"]["spec"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_selector_finds_the_pods_and_every_port_is_one_of_theirs(variant: str) -> None:
    found = rendered(variant)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    service = found["Service"]["spec"]
    selectors = [
        found["Deployment"]["spec"]["selector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        service["selector"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    ports = {port["name"] for port in container(variant)["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
    assert {port["port"] for rule in found["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]} <= ports
    if monitor := found.get("ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= found["Service"]["metadata"]["labels"].items()
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {port["name"] for port in service["ports"]}
    assert re.fullmatch(r"text-telescope.*", found["Service"]["metadata"]["name"])  # the job name in the alerts
    assert 'job=~"text-telescope.*"' in rules("alert")["TelescopeDown"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pod_has_no_privileges_and_enough_time_to_drain_and_memory_for_its_queue(variant: str) -> None:
    spec, only = pod(variant), container(variant)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    settings = {entry["name"].removeprefix("TELESCOPE_").lower() for entry in only["env"]}
    assert settings <= set(Settings.model_fields)
    assert not settings & {"drain_grace_s", "drain_timeout_s"}  # the next assertion uses the defaults
    assert spec["terminationGracePeriodSeconds"] >= pre_stop_s(variant) + DEFAULTS.drain_timeout_s + 15
    assert int(only["resources"]["limits"]["memory"].removesuffix("Gi")) * GIB >= AT_REST_BYTES + held_bytes()
    assert only["image"].rpartition(":")[2] not in ("", "latest")


def pre_stop_s(variant: str) -> int:
    return int(container(variant)["lifecycle"]["preStop"]["sleep"]["seconds"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_probe_requests_its_endpoint(variant: str) -> None:
    only = container(variant)
    assert only["livenessProbe"]["httpGet"]["path"] == "/livez"  # 200 while draining or overloaded
    for probe in ("startupProbe", "readinessProbe"):
        assert only[probe]["httpGet"]["path"] == "/readyz"


@pytest.mark.slow
def test_no_request_is_lost_when_kubernetes_ends_a_pod(launch: Callable[..., Process]) -> None:
    """Kubernetes waits for preStop, then sends SIGTERM; meanwhile nodes learn, some late, to use other pods."""
    leaving, staying = (launch(BATCH_S="0.02") for _ in range(2))
    endpoints = [leaving.url(), staying.url()]
    waiting_s = pre_stop_s("base")
    statuses: Counter[int] = Counter()
    over = threading.Event()

    def node() -> None:
        with httpx.Client(timeout=30) as http:
            while not over.is_set():
                for url in list(endpoints):
                    statuses[http.post(f"{url}/v1/super-resolve", content=png(), headers=PNG).status_code] += 1

    with ThreadPoolExecutor() as pool:
        nodes = [pool.submit(node) for _ in range(4)]
        try:
            time.sleep(0.8 * waiting_s)
            endpoints.remove(leaving.url())
            time.sleep(0.2 * waiting_s)
            since = time.monotonic()
            leaving.popen.send_signal(signal.SIGTERM)
            assert leaving.wait() == 0
            assert time.monotonic() - since < pod("base")["terminationGracePeriodSeconds"] - waiting_s
        finally:
            over.set()
        for one in nodes:
            one.result()  # no connection was broken
    assert set(statuses) == {200}
