"""The quality gate: estimates and decisions, and their report in responses, headers and counters."""

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

from app.__main__ import main
from app.bulk.in_process import InProcess
from app.errors import InvalidParameter
from app.imaging.decode import decode
from app.imaging.encode import encode
from app.imaging.quality_gate import ALWAYS, DECISIONS, REASONS, QualityGate, RoutingPolicy, routing_policy
from app.inference.predictor import Predictor
from app.serving.pipeline import CropOptions, CropPipeline
from app.telemetry.metrics import Metrics, ModelMetrics
from model_store import BUNDLED
from model_store.blur import estimate
from model_store.calibration import ANY, VIEWED_PIXELS, Calibration, Rule, SecondOpinion, calibration_path
from model_store.errors import InvalidCalibration
from model_store.pixels import Rgb, resize
from model_store.store import ModelStore
from model_store.views import Look
from tests.app.conftest import SPEC, Server, assert_reconciled, png
from tests.app.fakes import FakeRuntime, nearest_x2

NEVER = Rule(min_blur=math.inf, max_noise=math.inf, target_blur=1.8, strength=1)
BLURRED = Rule(min_blur=1.4, max_noise=0.1, target_blur=1.6, strength=1, points=4.1)
HELPS_BLURRED = QualityGate(Calibration({ANY: BLURRED}))
HELPS_ONE = QualityGate(
    Calibration({ANY: NEVER, "tesseract": BLURRED, "rapidocr-v6": NEVER}, {"tesseract": SecondOpinion(0.9, 0.1)})
)
SIX = Rule(min_blur=3.2, max_noise=math.inf, target_blur=1.6, strength=0.9, views=6, strength_of_one=0.4)
SIX_VIEWS = QualityGate(Calibration({ANY: SIX}))
AUTO = RoutingPolicy("auto")


def written(word: str = "Harbour", *, sigma: float = 0, noise: float = 0, height: int = 16) -> Rgb:
    """A word drawn large, blurred by `sigma` and brought to `height`; both lengths in its last pixels."""
    crop = np.full((96, 20 + 44 * len(word), 3), (235, 230, 200), np.uint8)
    cv2.putText(crop, word, (10, 68), cv2.FONT_HERSHEY_DUPLEX, 2, (40, 30, 60), 4, cv2.LINE_AA)
    if sigma:
        cv2.GaussianBlur(crop, (0, 0), sigma * 96 / height, dst=crop, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(crop, (crop.shape[1] * height // 96, height), interpolation=cv2.INTER_AREA)
    grain = np.random.default_rng(0).normal(0, noise, small.shape)
    return np.asarray(np.rint(small + grain).clip(0, 255), np.uint8)


def decided(rgb: Rgb, gate: QualityGate, policy: RoutingPolicy = AUTO) -> tuple[str, str]:
    decision = gate.decide(rgb, policy)
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
def test_a_plain_crop_of_any_size_is_blank(size: tuple[int, int]) -> None:
    plain = np.full((*size, 3), 90, np.uint8)
    assert estimate(plain).is_blank
    assert decided(plain, HELPS_BLURRED) == ("enlarged", "blank")
    assert decided(plain, HELPS_BLURRED, ALWAYS) == ("super_resolved", "always")


@pytest.mark.parametrize(("height", "sigma"), [(16, 0.8), (24, 1.5), (32, 2.5), (64, 5.0)])
def test_the_estimate_is_the_gaussian_that_blurred_the_word(height: int, sigma: float) -> None:
    words = ("Harbour", "2048", "museum", "EXIT 12")
    found = [estimate(written(word, sigma=sigma, height=height)).blur for word in words]
    assert np.median(found) == pytest.approx(sigma, rel=0.2)


def test_a_sharp_word_of_any_height_is_estimated_sharp() -> None:
    assert all(estimate(written(height=height)).blur < 0.9 for height in (12, 16, 24, 40, 64, 90))


@pytest.mark.parametrize("noise", [4, 8])
def test_noise_hides_no_blur(noise: float) -> None:
    assert estimate(written(sigma=3, noise=noise, height=40)).blur == pytest.approx(3, rel=0.35)


def test_the_blur_of_a_high_crop_is_in_pixels_of_the_crop() -> None:
    assert estimate(written(sigma=8, height=300)).blur == pytest.approx(8, rel=0.3)


def test_an_estimate_takes_less_than_a_millisecond() -> None:
    def seconds(crop: Rgb) -> float:
        start = time.thread_time()  # what others do on the machine does not count
        estimate(crop)
        return time.thread_time() - start

    for width in (100, 400):
        crop = np.random.default_rng(1).integers(0, 255, (32, width, 3), np.uint8)
        assert min(seconds(crop) for _ in range(30)) < 1e-3, width
    line = np.random.default_rng(1).integers(0, 255, (64, 20_000, 3), np.uint8)
    assert min(seconds(line) for _ in range(10)) < 5e-3, "of a long line only its middle is looked at"


def test_auto_super_resolves_blurred_crops_and_enlarges_sharp_or_noisy_ones() -> None:
    assert decided(written(sigma=2), HELPS_BLURRED) == ("super_resolved", "blurred")
    assert decided(written(), HELPS_BLURRED) == ("enlarged", "sharp")
    assert decided(written(sigma=2, noise=30), HELPS_BLURRED) == ("enlarged", "noisy")


def test_always_ignores_the_calibration() -> None:
    assert decided(written(), HELPS_BLURRED, ALWAYS) == ("super_resolved", "always")


def test_the_working_scale_brings_the_blur_to_the_target_and_is_at_most_one() -> None:
    for sigma in (2.0, 4.0):
        decision = HELPS_BLURRED.decide(written(sigma=sigma, height=40), AUTO)
        assert decision.blur is not None
        assert decision.scale == pytest.approx(1.6 / decision.blur)
    assert HELPS_BLURRED.decide(written(sigma=1.35, height=40), AUTO).scale == 1
    assert HELPS_BLURRED.decide(written(height=40), ALWAYS).scale == 1


def test_a_blurred_crop_of_any_height_is_super_resolved() -> None:
    for height in (16, 33, 64, 120, 200):
        assert decided(written(sigma=0.06 * height + 1.5, height=height), HELPS_BLURRED)[1] == "blurred", height


def test_a_crop_blurred_by_5_px_is_never_called_sharp() -> None:
    for gate in (HELPS_BLURRED, HELPS_ONE):
        for policy in (AUTO, RoutingPolicy("auto", ANY)):
            assert decided(written(sigma=5, height=64), gate, policy)[1] != "sharp"


def test_the_most_work_is_known_before_a_crop_is_decoded() -> None:
    size = (48, 200)
    assert HELPS_BLURRED.most(size, ALWAYS) == (Look(1),)
    assert HELPS_BLURRED.most(size, AUTO) == (Look(1),)  # min_blur is below the target
    six = tuple(Look(scale, inverted) for scale in (0.375, 0.5, 0.625) for inverted in (False, True))
    assert SIX_VIEWS.most(size, AUTO) == six
    assert HELPS_ONE.most(size, RoutingPolicy("auto", ANY)) == ()


def test_large_crops_and_those_of_a_page_get_one_view_at_the_strength_for_it() -> None:
    word, line = written(sigma=4, height=64), np.tile(written(sigma=4, height=64), (1, 8, 1))
    assert line.size / 3 > VIEWED_PIXELS > word.size / 3
    for crop, policy, one_view, views in (
        (word, AUTO, False, 6),
        (word, ALWAYS, False, 6),
        (word, AUTO, True, 1),
        (line, AUTO, False, 1),
    ):
        decision = SIX_VIEWS.decide(crop, policy, one_view=one_view)
        assert len(decision.looks) == views
        assert decision.strength == (0.9 if views == 6 else 0.4)
        assert len(SIX_VIEWS.most(crop.shape[:2], policy, one_view=one_view)) == views


def test_without_calibration_auto_super_resolves_every_crop() -> None:
    assert decided(written(), QualityGate()) == ("super_resolved", "uncalibrated")


def test_a_calibration_may_say_never() -> None:
    never = QualityGate(Calibration({ANY: NEVER}))
    assert decided(written(sigma=3), never) == ("enlarged", "no_gain_for_recogniser")
    assert never.recognisers == {ANY: "never super-resolves: no kind of crop was read better by it"}


def test_a_rule_describes_itself_in_one_line() -> None:
    assert BLURRED.description() == (
        "super-resolves crops blurred by 1.4 px and more, up to a noise of 0.10 of their contrast; "
        "+4.1 points on those"
    )


def test_each_recogniser_has_its_rule_and_crops_that_it_excludes_are_kept() -> None:
    blurred = written(sigma=2)
    assert decided(blurred, HELPS_ONE, RoutingPolicy("auto", "tesseract")) == ("super_resolved", "blurred")
    assert decided(written(), HELPS_ONE, RoutingPolicy("auto", "tesseract")) == ("kept", "sharp")
    assert decided(blurred, HELPS_ONE, RoutingPolicy("auto", "rapidocr-v6")) == ("kept", "no_gain_for_recogniser")
    assert decided(blurred, HELPS_ONE, RoutingPolicy("auto", ANY)) == ("kept", "no_gain_for_recogniser")
    assert decided(blurred, HELPS_ONE) == ("enlarged", "no_gain_for_recogniser")


def test_a_recogniser_implies_auto_and_needs_the_native_geometry() -> None:
    assert routing_policy(None, "tesseract", "native") == routing_policy("auto", "tesseract", "native")
    for mode in (None, "auto", "always"):
        with pytest.raises(InvalidParameter, match="recogniser need geometry=native"):
            routing_policy(mode, "tesseract", "telescope")


def test_always_with_a_recogniser_super_resolves_every_crop_by_its_target_and_strength() -> None:
    half = Rule(min_blur=9, max_noise=math.inf, target_blur=1.0, strength=0.5)
    gate = QualityGate(Calibration({ANY: NEVER, "tesseract": half}))
    sharp, blurred = written(), written(sigma=2)
    assert decided(sharp, gate, routing_policy("auto", "tesseract", "native")) == ("kept", "sharp")
    for crop in (sharp, blurred):
        decision = gate.decide(crop, routing_policy("always", "tesseract", "native"))
        assert (decision.method, decision.reason, decision.strength) == ("super_resolved", "always", 0.5)
        assert decision.blur is not None
        assert decision.scale == half.scale(decision.blur)
    assert gate.decide(blurred, ALWAYS).strength == NEVER.strength, "by the treatment for any recogniser"


def test_an_unknown_recogniser_is_refused_with_the_known_ones() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1])
    with pytest.raises(InvalidParameter, match="recogniser 'crnn'; known are any, tesseract, rapidocr-v6"):
        InProcess(predictor, CropPipeline(SPEC, HELPS_ONE), policy=RoutingPolicy("auto", "crnn"))
    with pytest.raises(InvalidParameter, match="recogniser 'any'; it has no calibration"):
        InProcess(predictor, CropPipeline(SPEC, QualityGate()), policy=RoutingPolicy("auto", ANY))
    predictor.close()


def test_second_opinions_have_a_target_and_strength_of_their_own() -> None:
    calibration = Calibration(
        {ANY: BLURRED, "tesseract": Rule(1.5, math.inf, 1.8, 0.5)},
        {"tesseract": SecondOpinion(0.9, 0.1, target_blur=2.5, strength=1)},
    )
    gate = QualityGate(calibration)
    assert calibration.rule("tesseract", every_crop=True).target_blur == 2.5
    assert calibration.rule(ANY, every_crop=True) == calibration.rule("not measured") == BLURRED
    for policy in (RoutingPolicy("always", "tesseract"), RoutingPolicy("auto", "tesseract", sure=False)):
        assert gate.decide(written(), policy).strength == 1
    assert calibration.rules["tesseract"].strength == 0.5  # where the rule decides


def test_the_reference_geometry_needs_always() -> None:
    assert routing_policy(None, None, "telescope") == routing_policy("always", None, "telescope") == ALWAYS
    with pytest.raises(InvalidParameter, match=r"mode=auto .* geometry=native"):
        routing_policy("auto", None, "telescope")


def test_an_enlarged_crop_needs_no_inference() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4])
    runtime.batches.clear()
    sharp, blurred = written(), written(sigma=2)
    planner = CropPipeline(SPEC, HELPS_BLURRED)
    answers = InProcess(predictor, planner, policy=AUTO)([sharp, blurred, sharp])
    predictor.close()
    assert [decision.reason for _, decision in answers] == ["sharp", "blurred", "sharp"]
    height, width = sharp.shape[:2]
    assert (answers[0][0] == resize(sharp, height=2 * height, width=2 * width)).all()
    assert len(runtime.batches) == 1


def test_a_strength_of_one_half_averages_output_and_enlarged_crop() -> None:
    runtime = FakeRuntime()
    predictor = Predictor(lambda: runtime, spec=SPEC, batch_sizes=[1, 4])
    crop = written(sigma=2)

    def answered(strength: float) -> Rgb:
        rule = Rule(min_blur=0, max_noise=math.inf, target_blur=9, strength=strength)
        planner = CropPipeline(SPEC, QualityGate(Calibration({ANY: rule})))
        ((rgb, _),) = InProcess(predictor, planner, policy=AUTO)([crop])
        return rgb.astype(int)

    enlarged = resize(crop, height=2 * crop.shape[0], width=2 * crop.shape[1]).astype(int)
    assert np.abs(2 * answered(0.5) - answered(1) - enlarged).max() <= 2
    predictor.close()


# The calibration's file


READ = Rule(min_blur=1.5, max_noise=math.inf, target_blur=1.8, strength=0.5, points=2.5)


def write(store: Path, **changes: object) -> Path:
    artefact = ModelStore(store).resolve("tbsrn")
    content = {
        "schema_version": 3,
        "digest": artefact.digest,
        "rules": {ANY: READ.as_json()},
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


def test_a_calibration_beside_its_model_does_not_change_the_model(store: Path) -> None:
    artefact = ModelStore(store).resolve("tbsrn")
    before = artefact.digest
    assert Calibration.of(artefact) is None
    assert write(store) == store / "tbsrn" / "calibration-1.json"
    again = ModelStore(store).resolve("tbsrn")
    assert Calibration.of(again) == Calibration({ANY: READ})
    assert again.digest == before


def test_a_calibration_survives_writing_and_reading(store: Path) -> None:
    written = Calibration(
        {ANY: NEVER, "tesseract": Rule(0.9, 0.25, 1.6, 1), "rapidocr-v4": READ},
        {"tesseract": SecondOpinion(0.9, 0.1), "rapidocr-v4": SecondOpinion(0.8, 0.0, 2.5, 0.4)},
    )
    limits = {
        "tesseract": {"below": 0.9, "margin": 0.1},
        "rapidocr-v4": {"below": 0.8, "margin": 0, "target_blur": 2.5, "strength": 0.4},
    }
    write(store, rules=written.as_json(), second_opinions={"limits": limits})
    assert Calibration.of(ModelStore(store).resolve("tbsrn")) == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "another"}, "was made for another model"),
        ({"schema_version": 1}, "was made for another model"),
        ({"rules": {}}, "cannot be read"),
        ({"rules": []}, "cannot be read"),
        ({"rules": {ANY: {}}}, "cannot be read"),
        ({"rules": {ANY: READ.as_json() | {"min_blur": "much"}}}, "cannot be read"),
        ({"rules": {ANY: READ.as_json() | {"strength": 1.5}}}, "cannot be read"),
        ({"rules": {ANY: READ.as_json() | {"target_blur": 0}}}, "cannot be read"),
        ({"second_opinions": {"limits": {"tesseract": {"below": 90, "margin": 10}}}}, "cannot be read"),
        ({"second_opinions": {"limits": {ANY: {"below": 0.9, "margin": 0, "strength": 2}}}}, "cannot be read"),
    ],
)
def test_a_calibration_of_other_weights_stops_the_start_with_one_sentence(
    store: Path, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(store, **changes)
    with pytest.raises(InvalidCalibration, match=message):
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


def test_every_image_reports_method_and_reason_and_the_counters_agree(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(gate=HELPS_BLURRED)
    blank = np.full((20, 60, 3), 90, np.uint8)
    crops = [encode(crop, "png") for crop in (written(), written(sigma=2), blank)]
    images = server.post(*crops, b"no picture", query="?mode=auto").json()["images"]
    told = [(image["method"], image["reason"]) for image in images[:3]]
    assert told == [("enlarged", "sharp"), ("super_resolved", "blurred"), ("enlarged", "blank")]
    sharp, blurred = images[:2]
    assert (sharp["working_scale"], sharp["strength"], blurred["strength"]) == (None, None, 1)
    assert sharp["blur_px"] < 1 < 1.6 < blurred["blur_px"]
    assert blurred["working_scale"] == pytest.approx(1.6 / blurred["blur_px"], abs=2e-3)
    for method, reason in told:
        assert server.metric("telescope_decisions_total", method=method, reason=reason) == 1
    assert server.metric("telescope_decisions_total") == server.metric("telescope_images_total", outcome="ok") == 3
    assert_reconciled(server)


def test_a_single_picture_reports_method_and_reason_in_headers(start_server: Callable[..., Server]) -> None:
    server = start_server(gate=HELPS_BLURRED)
    sharp = encode(written(), "png")
    for query, told in {"?mode=auto": ("enlarged", "sharp"), "?mode=always": ("super_resolved", "always")}.items():
        response = server.post(sharp, query=query)
        assert (response.headers["x-method"], response.headers["x-reason"]) == told


def test_each_region_has_its_own_decision(start_server: Callable[..., Server]) -> None:
    server = start_server(gate=HELPS_BLURRED)
    page = np.full((80, 200, 3), 230, np.uint8)
    sharp, blurred = written(), written(sigma=2)
    page[:16, : sharp.shape[1]], page[40:56, : blurred.shape[1]] = sharp, blurred
    boxes = json.dumps([[0, y, sharp.shape[1], y + 16] for y in (0, 40)])
    answer = server.client.post(
        "/v1/super-resolve/regions?mode=auto",
        files={"image": ("page.png", encode(page, "png"))},
        data={"regions": boxes},
    )
    assert [image["reason"] for image in answer.json()["images"]] == ["sharp", "blurred"]
    assert_reconciled(server)


def test_a_word_is_seen_in_every_view_and_a_region_of_a_page_in_one(start_server: Callable[..., Server]) -> None:
    server, pipeline = start_server(gate=SIX_VIEWS), CropPipeline(SPEC, SIX_VIEWS)
    word = written(sigma=4, height=64)
    height, width = word.shape[:2]
    boxes = {"regions": json.dumps([[0, 0, width, height]])}
    for path, form, one_view in (("", {}, False), ("/regions", boxes, True)):
        prepared = pipeline.prepare(word, CropOptions(one_view=one_view))
        assert (prepared.views.tiles > 6) == (not one_view)
        before = server.metric("telescope_batch_size_sum")
        files = {"image": ("word.png", encode(word, "png"))}
        answer = server.client.post(
            f"/v1/super-resolve{path}", files=files, data=form, headers={"accept": "image/*"}
        )
        assert server.metric("telescope_batch_size_sum") - before == prepared.views.tiles
        if not one_view:
            seen = [nearest_x2(tile[None])[0] for tile in prepared.tiles]
            assert (decode(answer.content) == pipeline.finish(prepared, seen)).all()
    assert_reconciled(server)


def test_crops_that_the_recogniser_reads_no_better_come_back_unchanged(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(gate=HELPS_ONE)
    sharp, blurred = written(), written(sigma=2)
    answer = server.post(*(encode(c, "png") for c in (sharp, blurred)), query="?recogniser=tesseract").json()
    kept, better = answer["images"]
    assert (kept["method"], kept["reason"]) == ("kept", "sharp")
    assert (decode(base64.b64decode(kept["data"])) == sharp).all()
    assert kept["output"] == kept["input"]
    assert (better["method"], better["output"]["height"]) == ("super_resolved", 32)
    assert server.metric("telescope_decisions_total", method="kept", reason="sharp") == 1
    for query in ("?recogniser=rapidocr-v6", "?recogniser=any", "?recogniser=any&mode=auto"):
        response = server.post(encode(blurred, "png"), query=query)
        told = response.headers["x-method"], response.headers["x-reason"]
        assert told == ("kept", "no_gain_for_recogniser")
    assert_reconciled(server)


def test_on_a_recomposed_page_kept_crops_are_enlarged_with_the_page(start_server: Callable[..., Server]) -> None:
    server = start_server(gate=HELPS_ONE)
    page = np.full((40, 120, 3), 230, np.uint8)
    page[4:20, 4 : 4 + written().shape[1]] = written()
    answer = server.client.post(
        "/v1/super-resolve/regions?recogniser=tesseract&recompose=true",
        files={"image": ("page.png", encode(page, "png"))},
        data={"regions": json.dumps([[4, 4, 4 + written().shape[1], 20]])},
    )
    assert (decode(answer.content) == resize(page, height=80, width=240)).all()


def test_a_recogniser_is_refused_by_name_and_listed_with_the_model(start_server: Callable[..., Server]) -> None:
    server = start_server(gate=HELPS_ONE)
    for query, told in {
        "?recogniser=crnn": "known are any, tesseract, rapidocr-v6",
        "?recogniser=tesseract&geometry=telescope": "geometry=native",
    }.items():
        response = server.post(png(), query=query)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
        assert told in response.json()["detail"]
    (model,) = server.client.get("/v1/models").json()["models"]
    assert model["recognisers"] == HELPS_ONE.recognisers
    assert model["recognisers"]["rapidocr-v6"].startswith("never")
    assert model["second_opinions"] == {"tesseract": {"below": 0.9, "margin": 0.1}}


def test_auto_in_the_reference_geometry_is_refused(server: Server) -> None:
    response = server.post(png(), query="?mode=auto&geometry=telescope")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert "geometry=native" in response.json()["detail"]
    assert server.post(png(), query="?geometry=telescope").headers["x-reason"] == "always"


def test_every_reason_is_explained_and_counted_from_the_start() -> None:
    assert {reason for _, reason in DECISIONS} == set(REASONS)
    metrics = Metrics()
    ModelMetrics(metrics, "tbsrn", 1)
    (family,) = (family for family in metrics.registry.collect() if family.name == "telescope_decisions")
    counted = {s.labels["reason"] for s in family.samples if s.name == "telescope_decisions_total"}
    assert counted == set(REASONS)
