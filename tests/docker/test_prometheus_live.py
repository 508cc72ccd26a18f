"""Rules, alerts and dashboard have data, with Debian's Prometheus, which scrapes a service under load."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from app.http.api_keys import new_key
from tests.app.process import Process, wait_until
from tests.conftest import REPOSITORY
from tests.docker.conftest import needs
from tests.docker.prometheus import Prometheus, rules, with_bool_comparisons
from tests.docker.test_prometheus import DASHBOARD

pytestmark = [needs("prometheus"), pytest.mark.slow]
PANELS = {
    f"{panel['title']}, {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}
CROP = REPOSITORY / "examples" / "crops" / "harbour.png"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, which scrapes a service with the bundled model that completes, refuses and fails requests."""
    key, stored = new_key("shop")
    process = Process(
        TELESCOPE_API_KEYS=stored.entry(),
        TELESCOPE_BATCH_SIZES="1,2",
        TELESCOPE_THREADS="1",
        TELESCOPE_MAX_IMAGES="4",
        TELESCOPE_MAX_QUEUE_WINDOWS="4",
        TELESCOPE_LOG_LEVEL="warning",
    )
    over = threading.Event()
    scraping = None
    try:
        load = threading.Thread(target=lambda: asyncio.run(_load(process.url(), key, over)))
        scraping = Prometheus(tmp_path_factory.mktemp("prometheus"), process.url().removeprefix("http://"))
        load.start()
        yield scraping
        over.set()
        load.join()
    finally:
        process.kill()
        if scraping:
            scraping.stop()


async def _load(url: str, key: str, over: threading.Event) -> None:
    """Six clients for a queue of four, and one that sends an invalid picture; at most five minutes."""

    async def client(data: bytes) -> None:
        while not over.is_set():
            with suppress(httpx.TransportError):  # on a busy machine an idle connection may be closed
                response = await http.post("/v1/super-resolve?geometry=telescope", content=data)
                await asyncio.sleep(0.3 if response.is_error else 0)

    headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/png"}
    with suppress(TimeoutError):
        async with asyncio.timeout(300), httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
            await asyncio.gather(*(client(data) for data in [CROP.read_bytes()] * 6 + [b"no picture"]))


def assert_has_data(prometheus: Prometheus, expression: str) -> None:
    query = expression.replace("$__rate_interval", "15s").replace("$job", ".+").replace("$model", ".+")
    assert "$" not in query
    wait_until(lambda: _numbers(prometheus, query), 60, every_s=0.2)


def _numbers(prometheus: Prometheus, expression: str) -> bool:
    found = prometheus.query(expression)
    return bool(found) and all(series["value"][1] != "NaN" for series in found)


@pytest.mark.parametrize("record", rules("record"))
def test_a_recording_rule_records(prometheus: Prometheus, record: str) -> None:
    assert_has_data(prometheus, record)


@pytest.mark.parametrize("alert", rules("alert"))
def test_an_alert_uses_metrics_that_the_service_exports(prometheus: Prometheus, alert: str) -> None:
    assert_has_data(prometheus, with_bool_comparisons(rules("alert")[alert]))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_shows_data(prometheus: Prometheus, panel: str) -> None:
    assert_has_data(prometheus, PANELS[panel])


def test_the_dashboard_can_be_filtered_by_job_and_model(prometheus: Prometheus) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
        assert found
        assert all(series["metric"][found[2]] for series in prometheus.query(found[1])), variable["name"]
        assert prometheus.query(found[1])


def test_a_misspelt_metric_has_no_data(prometheus: Prometheus) -> None:
    assert not _numbers(prometheus, "sum(rate(telescope_reqests_total[15s]))")
    assert not _numbers(prometheus, with_bool_comparisons("telescope_redy == 0 and telescope_ready == 0"))
