"""mode=auto: what is estimated, what is decided, and that the answer, the headers and the counters say so."""

import base64
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import codec, geometry
from app.__main__ import main
from app.errors import InvalidParameter, StartupError
from app.estimate import estimate
from app.in_process import InProcess
from app.judge import ALWAYS, ANY, DECISIONS, REASONS, Aim, Calibration, Judge, Rule, calibration_path, choose_aim
from app.metrics import Metrics
from app.predictor import Predictor
from model_store import BUNDLED
from model_store.pixels import Rgb, resize
from model_store.store import ModelStore
from tests.app.conftest import SPEC, Server, png
from tests.app.fakes import FakeRuntime
from tests.app.test_http import assert_reconciled

NEVER = Rule(min_blur=math.inf, max_noise=math.inf)
HELPS_BLURRED = Judge(Calibration({ANY: Rule(min_blur=1.2, max_noise=0.1)}))
HELPS_ONE = Judge(Calibration({ANY: NEVER, "tesseract": Rule(min_blur=1.2, max_noise=0.1), "rapidocr-v6": NEVER}))
AUTO = Aim("auto")


def written(word: str = "Harbour", *, sigma: float = 0, noise: float = 0, height: int = 16) -> Rgb:
    """A word drawn large, blurred by `sigma` and brought to `height`; both lengths in its last pixels."""
    crop = np.full((96, 20 + 44 * len(word), 3), (235, 230, 200), np.uint8)
    cv2.putText(crop, word, (10, 68), cv2.FONT_HERSHEY_DUPLEX, 2, (40, 30, 60), 4, cv2.LINE_AA)
    if sigma:
        crop = cv2.GaussianBlur(crop, (0, 0), sigma * 96 / height, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(crop, (crop.shape[1] * height // 96, height), interpolation=cv2.INTER_AREA)
    grain = np.random.default_rng(0).normal(0, noise, small.shape)
    return np.rint(small + grain).clip(0, 255).astype(np.uint8)


def decided(rgb: Rgb, judge: Judge, aim: Aim = AUTO) -> tuple[str, str]:
    layout = geometry.plan(*rgb.shape[:2], geometry="native", spec=SPEC)
    decision = judge.decide(rgb, layout, aim)
    return decision.method, decision.reason


@given(
    word=st.text("ABCDEFGHKLMNOPRSTUVWXYZabcdefghkmnopqrstuwxyz0123456789", min_size=3, max_size=9),
    sigma=st.floats(0.6, 2),
    more=st.floats(0.3, 1),
    height=st.integers(14, 30),
)
@settings(max_examples=60)
def test_a_more_blurred_word_is_estimated_more_blurred(word: str, sigma: float, more: float, height: int) -> None:
    less_blurred = estimate(written(word, sigma=sigma, height=height)).blur
    assert estimate(written(word, sigma=sigma + more, height=height)).blur > less_blurred


@given(noise=st.floats(3, 12), times=st.floats(2, 3))
def test_a_noisier_word_is_estimated_noisier(noise: float, times: float) -> None:
    assert estimate(written(noise=noise * times)).noise > estimate(written(noise=noise)).noise


@given(contrast=st.floats(0.3, 1))
def test_a_dim_word_counts_as_no_more_blurred_than_a_bright_one(contrast: float) -> None:
    bright = written(sigma=1)
    dim = np.rint(bright * contrast).astype(np.uint8)
    assert estimate(dim).blur == pytest.approx(estimate(bright).blur, rel=0.15)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (1, 300), (300, 1)])
def test_a_plain_crop_of_any_size_is_blurred_and_noisy_without_bound(size: tuple[int, int]) -> None:
    found = estimate(np.full((*size, 3), 90, np.uint8))
    assert (found.blur, found.noise, found.contrast) == (math.inf, math.inf, 0)
    assert decided(np.full((*size, 3), 90, np.uint8), HELPS_BLURRED)[0] == "enlarged"


def test_an_estimate_costs_less_than_a_millisecond_however_long_the_line() -> None:
    def seconds(crop: Rgb) -> float:
        start = time.thread_time()  # what others do on the machine does not count
        estimate(crop)
        return time.thread_time() - start

    for width in (100, 2000):
        crop = np.random.default_rng(1).integers(0, 255, (32, width, 3), np.uint8)
        assert min(seconds(crop) for _ in range(30)) < 1e-3, width


def test_auto_super_resolves_what_is_blurred_and_enlarges_what_is_sharp_or_noisy() -> None:
    assert decided(written(sigma=2), HELPS_BLURRED) == ("super_resolved", "blurred")
    assert decided(written(), HELPS_BLURRED) == ("enlarged", "sharp")
    assert decided(written(sigma=2, noise=30), HELPS_BLURRED) == ("enlarged", "noisy")


def test_always_super_resolves_whatever_the_calibration() -> None:
    assert decided(written(), HELPS_BLURRED, ALWAYS) == ("super_resolved", "always")


def test_a_crop_that_the_network_cannot_answer_is_enlarged_in_either_mode() -> None:
    for aim in (AUTO, ALWAYS):
        assert decided(written(height=60), HELPS_BLURRED, aim) == ("enlarged", "too_high")


def test_auto_is_always_where_no_calibration_is() -> None:
    assert decided(written(), Judge()) == ("super_resolved", "uncalibrated")


def test_a_calibration_may_say_never() -> None:
    never = Judge(Calibration({ANY: NEVER}))
    assert decided(written(sigma=3), never) == ("enlarged", "sharp")
    layout = geometry.plan(16, 40, geometry="native", spec=SPEC)
    assert not never.may_infer(layout, AUTO)
    assert never.may_infer(layout, ALWAYS)


def test_each_recogniser_has_a_rule_of_its_own_and_what_does_not_help_it_stays_as_it_is() -> None:
    blurred = written(sigma=2)
    assert decided(blurred, HELPS_ONE, Aim("auto", "tesseract")) == ("super_resolved", "blurred")
    assert decided(written(), HELPS_ONE, Aim("auto", "tesseract")) == ("kept", "sharp")
    assert decided(blurred, HELPS_ONE, Aim("auto", "rapidocr-v6")) == ("kept", "sharp")
    assert decided(blurred, HELPS_ONE, Aim("auto", ANY)) == ("kept", "sharp")
    assert decided(written(height=60), HELPS_ONE, Aim("auto", "tesseract")) == ("kept", "too_high")
    assert decided(blurred, HELPS_ONE) == ("enlarged", "sharp")


def test_a_recogniser_asks_for_auto_and_goes_with_nothing_else() -> None:
    assert choose_aim(None, "tesseract", "native") == choose_aim("auto", "tesseract", "native")
    with pytest.raises(InvalidParameter, match="mode=always for the network in any case; leave one of them out"):
        choose_aim("always", "tesseract", "native")
    with pytest.raises(InvalidParameter, match="recogniser need geometry=native"):
        choose_aim(None, "tesseract", "telescope")


def test_a_recogniser_that_nobody_measured_is_refused_with_those_there_are() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1])
    with pytest.raises(InvalidParameter, match="recogniser 'crnn'; known are any, tesseract, rapidocr-v6"):
        InProcess(predictor, HELPS_ONE, aim=Aim("auto", "crnn"))
    with pytest.raises(InvalidParameter, match="recogniser 'any'; it has no calibration"):
        InProcess(predictor, Judge(), aim=Aim("auto", ANY))
    predictor.close()


def test_the_reference_geometry_goes_with_always_alone() -> None:
    assert choose_aim(None, None, "telescope") == choose_aim("always", None, "telescope") == ALWAYS
    with pytest.raises(InvalidParameter, match=r"mode=auto .* geometry=native"):
        choose_aim("auto", None, "telescope")


def test_an_enlarged_crop_costs_no_inference() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4])
    runtime.batches.clear()
    sharp, blurred = written(), written(sigma=2)
    answers = InProcess(predictor, HELPS_BLURRED, aim=AUTO)([sharp, blurred, sharp])
    predictor.close()
    assert [answer.decision.reason for answer in answers] == ["sharp", "blurred", "sharp"]
    layout = geometry.plan(*sharp.shape[:2], geometry="native", spec=SPEC)
    assert (answers[0].rgb == geometry.enlarge(sharp, layout)).all()
    windows = len(geometry.plan(*blurred.shape[:2], geometry="native", spec=SPEC).starts)
    assert sum(runtime.batches) in (windows, 4)


# The calibration's file


def write(store: Path, **changes: object) -> Path:
    artefact = ModelStore(store).resolve("tbsrn")
    content = {
        "schema_version": 2,
        "digest": artefact.digest,
        "rules": {ANY: {"min_blur": 1.5, "max_noise": None}},
    }
    path = calibration_path(artefact)
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"not a network")
    root = tmp_path / "store"
    ModelStore(root).publish(
        tmp_path, name="tbsrn", pixels=SPEC, training={}, metrics=[], licence="none", git_commit="none"
    )
    return root


def test_a_calibration_is_found_beside_its_model_and_changes_nothing_in_it(store: Path) -> None:
    artefact = ModelStore(store).resolve("tbsrn")
    before = artefact.digest
    assert Calibration.of(artefact) is None
    assert write(store) == store / "tbsrn" / "calibration-1.json"
    again = ModelStore(store).resolve("tbsrn")
    assert Calibration.of(again) == Calibration({ANY: Rule(min_blur=1.5, max_noise=math.inf)})
    assert again.digest == before


def test_a_calibration_says_in_its_file_what_it_says_when_read(store: Path) -> None:
    written = Calibration({ANY: Rule(min_blur=math.inf, max_noise=0.25), "tesseract": Rule(0.9, math.inf)})
    write(store, rules=written.as_json())
    assert Calibration.of(ModelStore(store).resolve("tbsrn")) == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "another"}, "was made for another model"),
        ({"schema_version": 1}, "was made for another model"),
        ({"rules": {}}, "cannot be read"),
        ({"rules": []}, "cannot be read"),
        ({"rules": {ANY: {}}}, "cannot be read"),
        ({"rules": {ANY: {"min_blur": "much", "max_noise": 1}}}, "cannot be read"),
    ],
)
def test_a_calibration_of_other_weights_stops_the_start_with_one_sentence(
    store: Path, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(store, **changes)
    with pytest.raises(StartupError, match=message):
        Calibration.of(ModelStore(store).resolve("tbsrn"))
    (store / "crop.png").write_bytes(png())
    assert main(["upscale", str(store / "crop.png"), "-o", str(store / "out"), "--model-store", str(store)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line


def test_every_bundled_calibration_belongs_to_its_model() -> None:
    for path in BUNDLED.glob("*/calibration-*.json"):
        version = path.stem.removeprefix("calibration-")
        assert Calibration.of(ModelStore(BUNDLED).resolve(f"{path.parent.name}:{version}")) is not None


# Over HTTP


def test_every_image_says_what_was_done_and_why_and_the_counters_agree(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(judge=HELPS_BLURRED)
    crops = [codec.encode(crop, "png") for crop in (written(), written(sigma=2), written(height=60))]
    images = server.post(*crops, b"no picture", query="?mode=auto").json()["images"]
    told = [(image["method"], image["reason"]) for image in images[:3]]
    assert told == [("enlarged", "sharp"), ("super_resolved", "blurred"), ("enlarged", "too_high")]
    for method, reason in told:
        assert server.metric("telescope_decisions_total", method=method, reason=reason) == 1
    assert server.metric("telescope_decisions_total") == server.metric("telescope_images_total", outcome="ok") == 3
    assert_reconciled(server)


def test_a_single_picture_says_so_in_its_headers(start_server: Callable[..., Server]) -> None:
    server = start_server(judge=HELPS_BLURRED)
    sharp = codec.encode(written(), "png")
    for query, told in {"?mode=auto": ("enlarged", "sharp"), "?mode=always": ("super_resolved", "always")}.items():
        response = server.post(sharp, query=query)
        assert (response.headers["x-method"], response.headers["x-reason"]) == told


def test_regions_are_judged_one_by_one(start_server: Callable[..., Server]) -> None:
    server = start_server(judge=HELPS_BLURRED)
    page = np.full((80, 200, 3), 230, np.uint8)
    sharp, blurred = written(), written(sigma=2)
    page[:16, : sharp.shape[1]], page[40:56, : blurred.shape[1]] = sharp, blurred
    boxes = json.dumps([[0, y, sharp.shape[1], y + 16] for y in (0, 40)])
    answer = server.client.post(
        "/v1/super-resolve/regions?mode=auto",
        files={"image": ("page.png", codec.encode(page, "png"))},
        data={"regions": boxes},
    )
    assert [image["reason"] for image in answer.json()["images"]] == ["sharp", "blurred"]
    assert_reconciled(server)


def test_what_does_not_help_the_recogniser_comes_back_as_it_was(start_server: Callable[..., Server]) -> None:
    server = start_server(judge=HELPS_ONE)
    sharp, blurred = written(), written(sigma=2)
    answer = server.post(*(codec.encode(c, "png") for c in (sharp, blurred)), query="?recogniser=tesseract").json()
    kept, better = answer["images"]
    assert (kept["method"], kept["reason"]) == ("kept", "sharp")
    assert (codec.decode(base64.b64decode(kept["data"])) == sharp).all()
    assert kept["output"] == kept["input"]
    assert (better["method"], better["output"]["height"]) == ("super_resolved", 32)
    assert server.metric("telescope_decisions_total", method="kept", reason="sharp") == 1
    for query in ("?recogniser=rapidocr-v6", "?recogniser=any", "?recogniser=any&mode=auto"):
        response = server.post(codec.encode(blurred, "png"), query=query)
        assert (response.headers["x-method"], response.headers["x-reason"]) == ("kept", "sharp")
    assert_reconciled(server)


def test_on_a_recomposed_page_what_is_kept_is_enlarged_with_the_page(start_server: Callable[..., Server]) -> None:
    server = start_server(judge=HELPS_ONE)
    page = np.full((40, 120, 3), 230, np.uint8)
    page[4:20, 4 : 4 + written().shape[1]] = written()
    answer = server.client.post(
        "/v1/super-resolve/regions?recogniser=tesseract&recompose=true",
        files={"image": ("page.png", codec.encode(page, "png"))},
        data={"regions": json.dumps([[4, 4, 4 + written().shape[1], 20]])},
    )
    assert (codec.decode(answer.content) == resize(page, height=80, width=240)).all()


def test_a_recogniser_is_refused_by_name_and_listed_with_the_model(start_server: Callable[..., Server]) -> None:
    server = start_server(judge=HELPS_ONE)
    for query, told in {
        "?recogniser=crnn": "known are any, tesseract, rapidocr-v6",
        "?recogniser=tesseract&mode=always": "leave one of them out",
        "?recogniser=tesseract&geometry=telescope": "geometry=native",
    }.items():
        response = server.post(png(), query=query)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
        assert told in response.json()["detail"]
    (model,) = server.client.get("/v1/models").json()["models"]
    assert model["recognisers"] == ["any", "tesseract", "rapidocr-v6"]


def test_auto_in_the_reference_geometry_is_refused(server: Server) -> None:
    response = server.post(png(), query="?mode=auto&geometry=telescope")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert "geometry=native" in response.json()["detail"]
    assert server.post(png(), query="?geometry=telescope").headers["x-reason"] == "always"


def test_every_reason_is_explained_and_counted_from_the_start() -> None:
    assert {decision.reason for decision in DECISIONS} == set(REASONS)
    metrics = Metrics()
    metrics.for_model("tbsrn", 1)
    (family,) = (family for family in metrics.registry.collect() if family.name == "telescope_decisions")
    counted = {s.labels["reason"] for s in family.samples if s.name == "telescope_decisions_total"}
    assert counted == set(REASONS)
