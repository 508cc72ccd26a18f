"""Several models at once, and switches between versions that drop nothing."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import InferenceFailed, StartupError
from app.http.api_keys import new_key
from app.imaging import decode
from app.inference.predictor import Predictor
from app.serving import registry as models
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store.pixels import Nchw, Rgb
from model_store.store import Artefact, ModelStore
from tests.app.conftest import SPEC, Server, assert_reconciled, picture, png
from tests.app.fakes import FakeRuntime
from tests.app.process import wait_until

KEY, STORED = new_key("shop")
ADMIN_KEY, ADMIN = new_key("operator", admin=True)
MODELS = ("tbsrn:1", "tbsrn:2", "other:1")
TINTS = {"tbsrn:1": 10, "tbsrn:2": 20, "other:1": 30}  # what each adds to the blue of every pixel


class Tinted(FakeRuntime):
    def __init__(self, tint: int) -> None:
        super().__init__()
        self._tint = tint

    def run(self, lr_nchw: Nchw) -> Nchw:
        sr = super().run(lr_nchw)
        sr[:, 2] += self._tint / 255
        return sr


class Fleet:
    """A service of several models, each in front of a runtime of its own; `runtimes` holds the newest of each."""

    def __init__(self, store: Path, served: tuple[str, ...], **settings: Any) -> None:
        self.store = ModelStore(store)
        self.settings = Settings(
            model_store=store, model=served, api_keys=f"{STORED.entry()},{ADMIN.entry()}", **settings
        )
        self.runtimes: dict[str, Tinted] = {}
        self.trouble: Exception | None = None  # of the next runtime that is opened
        self.may_open = threading.Event()
        self.may_open.set()
        loaded = [self.load(self.store.resolve(ref)) for ref in served]
        self.server = Server(self.settings, FakeRuntime(), loaded=loaded, load=self.load)

    def load(self, artefact: Artefact) -> LoadedModel:
        def opened() -> Tinted:
            assert self.may_open.wait(30)
            artefact.files("onnx")  # as every runtime does: each is held against its digest
            if isinstance(self.trouble, StartupError | ZeroDivisionError):
                raise self.trouble
            runtime = self.runtimes[artefact.manifest.ref] = Tinted(TINTS[artefact.manifest.ref])
            if self.trouble:
                runtime.run = self._fails  # type: ignore[method-assign]
            return runtime

        return LoadedModel(artefact, Predictor(opened, spec=SPEC, batch_sizes=self.settings.batch_sizes))

    def _fails(self, lr_nchw: Nchw) -> Nchw:
        assert self.trouble
        raise self.trouble

    def ask(self, colour: tuple[int, int, int] = (1, 2, 3), *, model: str = "") -> tuple[str, Rgb]:
        """Who answered one question, and what."""
        response = self.server.post(png(colour), query=f"?model={model}" if model else "", headers=bearer(KEY))
        assert response.status_code == 200, response.text
        headers = response.headers
        return f"{headers['x-model-name']}:{headers['x-model-version']}", decode.decode(response.content)

    def activate(self, name: str, key: str = ADMIN_KEY) -> tuple[int, dict[str, object]]:
        response = self.server.client.post(f"/v1/models/{name}/activate", headers=bearer(key))
        return response.status_code, response.json()

    def listed(self) -> dict[str, tuple[bool, bool]]:
        """Every loaded model: active, default."""
        models = self.server.client.get("/v1/models", headers=bearer(KEY)).json()["models"]
        return {f"{m['name']}:{m['version']}": (m["active"], m["default"]) for m in models}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def is_right(answer: Rgb, colour: tuple[int, int, int], ref: str) -> bool:
    red, green, blue = colour
    return np.array_equal(answer, picture((red, green, blue + TINTS[ref]), height=32, width=128))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    staging, root = tmp_path / "staging", tmp_path / "store"
    (staging / "onnx").mkdir(parents=True)
    root.mkdir()
    for ref in MODELS:
        (staging / "onnx" / "model.onnx").write_text(ref)
        name = ref.partition(":")[0]
        ModelStore(root).publish(
            staging, name=name, pixels=SPEC, training={}, metrics=[], licence="none", git_commit="none"
        )
    return root


@pytest.fixture
def fleet(store: Path) -> Iterator[Callable[..., Fleet]]:
    """fleet("tbsrn:1", "other", max_queue_windows=64, ...)"""
    running: list[Fleet] = []

    def begin(*served: str, **settings: object) -> Fleet:
        running.append(Fleet(store, served, **settings))
        return running[-1]

    yield begin
    for one in running:
        one.may_open.set()
        for runtime in one.runtimes.values():
            runtime.gate.set()
        one.server.stop()
        assert all(runtime.closed for runtime in one.runtimes.values())


def test_each_request_is_answered_by_the_model_that_it_names(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1", "other", "tbsrn:2")
    colour = (5, 6, 7)
    for model, ref in {
        "": "tbsrn:1",
        "tbsrn": "tbsrn:1",
        "tbsrn:1": "tbsrn:1",
        "tbsrn:2": "tbsrn:2",
        "other": "other:1",
        "other:1": "other:1",
    }.items():
        answered_by, answer = served.ask(colour, model=model)
        assert answered_by == ref
        assert is_right(answer, colour, ref)
    for model in ("tbsrn:3", "others", "other:", "other:01"):
        refused = served.server.post(png(), query=f"?model={model}", headers=bearer(KEY))
        assert (refused.status_code, refused.json()["code"]) == (404, "unknown_model")
    assert "served: tbsrn:1, other:1, tbsrn:2." in refused.json()["detail"]
    assert served.listed() == {"tbsrn:1": (True, True), "other:1": (True, False), "tbsrn:2": (False, False)}
    for ref, images in {"tbsrn:1": 3, "tbsrn:2": 1, "other:1": 2}.items():
        name, version = ref.split(":")
        for metric in ("telescope_images_total", "telescope_batch_size_count"):
            assert served.server.metric(metric, model=name, version=version) == images
        assert served.server.metric("telescope_model_info", model=name, version=version) == 1
    assert_reconciled(served.server)


@pytest.mark.slow
def test_switching_under_load_loses_no_answer_and_mixes_none(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1")
    ended = threading.Event()
    answered: Counter[str] = Counter()

    def client(number: int) -> None:
        tag = 0
        while not ended.is_set():
            tag += 1
            colour = (number, tag % 256, 9)
            ref, answer = served.ask(colour)
            assert is_right(answer, colour, ref)
            answered[ref] += 1

    first = served.runtimes["tbsrn:1"]
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        try:
            for ref in ("tbsrn:2", "tbsrn:1") * 3:
                before = answered[ref]
                assert served.activate(ref)[0] == 200
                wait_until(lambda ref=ref, before=before: answered[ref] > before + 20)  # type: ignore[misc]
        finally:
            ended.set()
        for asked in clients:
            asked.result()
    assert first.closed
    wait_until(lambda: served.runtimes["tbsrn:2"].closed)
    assert not served.runtimes["tbsrn:1"].closed
    assert served.listed() == {"tbsrn:1": (True, True)}
    assert served.server.metric("telescope_requests_total", outcome="ok") >= answered.total()
    assert_reconciled(served.server)


def test_what_the_old_version_has_begun_it_ends_while_the_new_one_answers(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1")
    old = served.runtimes["tbsrn:1"]
    old.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(served.ask, (1, 1, 1))
        wait_until(lambda: served.server.metric("telescope_admitted_windows") == 1)
        status, told = served.activate("tbsrn")
        assert (status, told["version"], told["active"]) == (200, 2, True)
        assert served.ask((2, 2, 2))[0] == "tbsrn:2"
        assert served.listed() == {"tbsrn:2": (True, True)}
        assert served.server.metric("telescope_model_active", version="2") == 1
        assert served.server.metric("telescope_model_active", version="1") == 0
        assert not old.closed
        old.gate.set()
        ref, answer = begun.result()
    assert ref == "tbsrn:1"
    assert is_right(answer, (1, 1, 1), ref)
    wait_until(lambda: old.closed)
    assert_reconciled(served.server)


def test_a_request_whose_body_is_still_arriving_is_answered_by_the_version_it_came_for(
    fleet: Callable[..., Fleet],
) -> None:
    served = fleet("tbsrn:1")
    old, go_on = served.runtimes["tbsrn:1"], threading.Event()

    def body() -> Iterator[bytes]:
        yield png()[:20]
        assert go_on.wait(30)
        yield png()[20:]

    with ThreadPoolExecutor(1) as pool:
        headers = {**bearer(KEY), "Content-Type": "image/png"}
        slow = pool.submit(served.server.client.post, "/v1/super-resolve", content=body(), headers=headers)
        wait_until(lambda: served.server.metric("telescope_body_bytes") == 20)
        assert served.activate("tbsrn:2")[0] == 200
        assert not old.closed
        go_on.set()
        assert slow.result().headers["x-model-version"] == "1"
    wait_until(lambda: old.closed)


def test_versions_that_are_both_loaded_change_places_and_both_go_on(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1", "tbsrn:2")
    runtimes = dict(served.runtimes)
    assert served.activate("tbsrn:2")[0] == 200
    assert served.listed() == {"tbsrn:2": (True, True), "tbsrn:1": (False, False)}
    assert served.ask()[0] == "tbsrn:2"
    assert served.ask(model="tbsrn:1")[0] == "tbsrn:1"
    assert served.runtimes == runtimes, "nothing was opened"


def missing(artefact: Path) -> None:
    (artefact / "onnx" / "model.onnx").unlink()


def changed(artefact: Path) -> None:
    (artefact / "onnx" / "model.onnx").write_text("tbsrn:3")


def no_manifest(artefact: Path) -> None:
    (artefact / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (missing, "model.onnx is missing"),
        (changed, "SHA-256 differs"),
        (no_manifest, "not JSON"),
        (StartupError("The device is not there."), "The device is not there. The active"),
        (InferenceFailed("no such layer"), "Warming up 1 images of 16x64 failed: no such layer"),
        (ZeroDivisionError("a slip of the pen"), "the cause is in the service's log"),
    ],
)
def test_a_broken_version_is_refused_and_the_active_one_goes_on(
    fleet: Callable[..., Fleet], store: Path, harm: Callable[[Path], None] | Exception, says: str
) -> None:
    served = fleet("tbsrn:1")
    if isinstance(harm, Exception):
        served.trouble = harm
    else:
        harm(store / "tbsrn" / "2")
    status, problem = served.activate("tbsrn:2")
    assert (status, problem["code"]) == (409, "model_refused")
    assert says in str(problem["detail"])
    assert "slip" not in str(problem)
    assert served.listed() == {"tbsrn:1": (True, True)}
    assert served.ask()[0] == "tbsrn:1"
    assert not served.runtimes["tbsrn:1"].closed
    served.trouble = None
    assert_reconciled(served.server)


def test_only_an_admin_key_switches_and_only_what_is_served(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1")
    for key, status, code in [("", 401, "unauthorized"), ("x", 401, "unauthorized"), (KEY, 403, "forbidden")]:
        told = served.activate("tbsrn:2", key)
        assert (told[0], told[1]["code"]) == (status, code)
    for name in ("other", "other:1", "tbsrn:3", "tbsrn:", "nothing", "..%2f..", "tbsrn:2:2"):
        told = served.activate(name)
        assert told[0] == 404, name
        assert told[1]["code"] in ("unknown_model", "not_found")
    assert served.listed() == {"tbsrn:1": (True, True)}


def test_without_configured_keys_nobody_switches(server: Server) -> None:
    refused = server.client.post("/v1/models/tbsrn/activate")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "new-key NAME --admin" in refused.json()["detail"]


def test_a_drain_covers_every_model_and_no_other_is_loaded_any_more(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1", "other")
    served.server.app.state.models.begin_drain()
    for model in ("tbsrn", "other"):
        refused = served.server.post(png(), query=f"?model={model}", headers=bearer(KEY))
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
    assert served.activate("tbsrn:2")[0] == 503
    assert served.server.client.get("/readyz").status_code == 503
    assert served.server.client.get("/livez").status_code == 200


def test_any_model_that_hangs_turns_readiness_and_then_liveness_to_503_and_costs_the_others_nothing(
    fleet: Callable[..., Fleet],
) -> None:
    served = fleet("tbsrn:1", "other", hang_timeout_s=0.2, restart_after_s=0.3)
    client = served.server.client
    served.runtimes["other:1"].gate.clear()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(served.ask, model="other")
        wait_until(lambda: client.get("/livez").status_code == 503)
        assert client.get("/readyz").status_code == 503
        assert served.ask(model="tbsrn")[0] == "tbsrn:1"
        served.runtimes["other:1"].gate.set()
        assert held.result()[0] == "other:1"
    assert client.get("/readyz").status_code == client.get("/livez").status_code == 200


def test_the_queue_is_bounded_over_all_models_together(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1", "other", max_queue_windows=2, max_images=2)
    served.runtimes["other:1"].gate.clear()
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(served.ask, model="other") for _ in range(2)]
        wait_until(lambda: served.server.metric("telescope_admitted_windows") == 2)
        refused = served.server.post(png(), query="?model=tbsrn", headers=bearer(KEY))
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        served.runtimes["other:1"].gate.set()
        assert {one.result()[0] for one in held} == {"other:1"}
    assert served.ask(model="tbsrn")[0] == "tbsrn:1"


def test_a_hung_version_can_be_replaced(fleet: Callable[..., Fleet]) -> None:
    served = fleet("tbsrn:1", hang_timeout_s=0.1)
    served.runtimes["tbsrn:1"].gate.clear()
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(served.ask)
        wait_until(lambda: served.server.client.get("/readyz").status_code == 503)
        assert served.activate("tbsrn:2")[0] == 200
        assert served.server.client.get("/readyz").status_code == 200
        assert served.ask()[0] == "tbsrn:2"
        served.runtimes["tbsrn:1"].gate.set()
        assert stuck.result()[0] == "tbsrn:1"


def test_a_version_that_hangs_while_it_opens_is_given_up_and_holds_up_no_later_switch(
    fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = fleet("tbsrn:1")
    monkeypatch.setattr(models, "LOAD_TIMEOUT_S", 0.2)
    served.may_open.clear()
    status, problem = served.activate("tbsrn:2")
    assert (status, problem["code"]) == (409, "model_refused")
    assert served.ask()[0] == "tbsrn:1"
    served.may_open.set()
    wait_until(lambda: "tbsrn:2" in served.runtimes and served.runtimes["tbsrn:2"].closed)
    monkeypatch.undo()
    assert served.activate("tbsrn:2")[0] == 200
    assert served.ask()[0] == "tbsrn:2"
