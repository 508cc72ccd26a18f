"""Second opinions: the service is asked only where a reader is unsure, and its failures lose no plain reading."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from text_telescope import (
    AsyncTelescopeClient,
    BadImage,
    BadRequest,
    Opinion,
    Reading,
    TelescopeClient,
    TelescopeError,
    Unreachable,
)

from app.imaging.encode import encode
from app.imaging.quality_gate import QualityGate
from model_store.calibration import ANY, Calibration, SecondOpinion
from model_store.pixels import Rgb
from tests.app.conftest import Server
from tests.app.imaging.test_quality_gate import BLURRED, NEVER, written

LIMITS = SecondOpinion(below=0.8, margin=0.1)
GATE = QualityGate(
    Calibration(
        {ANY: NEVER, "tesseract": BLURRED, "rapidocr-v6": NEVER}, {"tesseract": LIMITS, "rapidocr-v6": LIMITS}
    )
)
BLURRED_CROP, SHARP_CROP = written(sigma=2), written()
CLOSED = "http://127.0.0.1:1"


class Reads:
    """A reader of fixed readings: one list for the plain crops, then one for the super-resolved ones."""

    def __init__(self, *answers: list[tuple[str, float]]) -> None:
        self.answers = list(answers)
        self.seen: list[list[Any]] = []

    def __call__(self, crops: list[Any]) -> list[tuple[str, float]]:
        self.seen.append(crops)
        return self.answers[len(self.seen) - 1]


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(gate=GATE)


@pytest.fixture
def client(server: Server) -> Iterator[TelescopeClient]:
    with TelescopeClient(server.url, timeout_s=5) as one:
        yield one


def images_sent(server: Server) -> int:
    return int(server.metric("telescope_images_received_total"))


def test_only_unsure_crops_are_sent_and_sharp_ones_among_them_are_read_again_too(
    client: TelescopeClient, server: Server
) -> None:
    reader = Reads([("Harbour", 0.8), ("Harbcur", 0.7), ("Harbour", 0.79)], [("Harbour", 0.9), ("Harb", 0.6)])
    crops = (crop for crop in (BLURRED_CROP, BLURRED_CROP, SHARP_CROP))
    sure, again, worse = client.read(crops, reader, recogniser="tesseract")
    assert sure == Reading(Opinion("Harbour", 0.8))
    assert (again.text, again.confidence, again.kept, again.sent) == ("Harbour", 0.9, "super_resolved", True)
    assert (again.plain, again.super_resolved) == (("Harbcur", 0.7), ("Harbour", 0.9))
    assert (worse.text, worse.super_resolved, worse.kept) == ("Harbour", ("Harb", 0.6), "plain")
    assert images_sent(server) == 2
    enlarged, _ = reader.seen[1]
    assert enlarged.shape == (2 * BLURRED_CROP.shape[0], 2 * BLURRED_CROP.shape[1], 3)


@pytest.mark.parametrize(("second", "kept"), [(0.6, "plain"), (0.625, "super_resolved"), (0.1, "plain")])
def test_the_second_reading_must_be_surer_by_more_than_the_margin(
    client: TelescopeClient, second: float, kept: str
) -> None:
    reader = Reads([("plain", 0.5)], [("second", second)])
    (found,) = client.read([BLURRED_CROP], reader, recogniser="tesseract")
    assert found.kept == kept
    reader = Reads([("plain", 0.5)], [("second", second)])
    (found,) = client.read([BLURRED_CROP], reader, recogniser="tesseract", below=0.5, margin=0)
    assert len(reader.seen) == 1  # not below its limit


@pytest.mark.parametrize("kind", [Image.fromarray, lambda crop: encode(crop, "png")])
def test_the_reader_gets_crops_of_the_kind_that_it_was_given(
    client: TelescopeClient, kind: Callable[[Rgb], Any]
) -> None:
    reader = Reads([("a", 0.1)], [("b", 0.9)])
    client.read([kind(BLURRED_CROP)], reader, recogniser="tesseract")
    assert type(reader.seen[1][0]) is (bytes if isinstance(reader.seen[0][0], bytes) else Image.Image)
    with pytest.raises(TypeError, match="must be an array, a PIL image or bytes, and not a str"):
        client.read(["crop.png"], reader, recogniser="tesseract")


def test_no_crops_ask_neither_reader_nor_for_pictures(client: TelescopeClient, server: Server) -> None:
    reader = Reads()
    assert client.read([], reader, recogniser="tesseract") == []
    assert (reader.seen, images_sent(server)) == ([], 0)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([("a", 0.5)], r"gave 1 results for 2 crops; it must give one \(text, confidence\)"),
        ([("a", 96.8), ("b", 3)], r"result 0 has the confidence 96.8; .* divide those of Tesseract by 100"),
        ([("a", 0.5), ("b", -1)], "result 1 has the confidence -1"),
        ([("a", 0.5), ("b", float("nan"))], "result 1 has the confidence nan"),
        (["a", "b"], r"result 0 must be \(text, confidence\), not 'a'"),
        ([("a", None), ("b", 1)], r"result 0 must be \(text, confidence\)"),
        ([(None, 0.5), ("b", 1)], r"result 0 must be \(text, confidence\)"),
    ],
)
def test_results_of_another_form_are_named(client: TelescopeClient, answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        client.read([SHARP_CROP, BLURRED_CROP], Reads(answer), recogniser="tesseract")


def test_a_confidence_of_float32_just_above_one_is_one(client: TelescopeClient) -> None:
    (found,) = client.read([SHARP_CROP], Reads([("a", float(np.float32(1.0000002)))]), recogniser="tesseract")
    assert found.confidence == 1


def test_a_reader_that_is_not_named_gets_the_limits_for_any(start_server: Callable[..., Server]) -> None:
    url = start_server(gate=QualityGate(Calibration({ANY: NEVER}, {ANY: LIMITS}))).url
    with TelescopeClient(url, timeout_s=5) as client:
        (found,) = client.read([BLURRED_CROP], Reads([("Harbcur", 0.7)], [("Harbour", 0.9)]))
    assert (found.text, found.sent, found.kept) == ("Harbour", True, "super_resolved")


def test_wrong_arguments_are_named_before_anything_is_read(client: TelescopeClient) -> None:
    def read(recogniser: str = "tesseract", **options: Any) -> None:
        client.read([SHARP_CROP], Reads(), recogniser=recogniser, **options)

    with pytest.raises(ValueError, match=r"tbsrn:1 is not .* 'any'; it has limits for tesseract, .* below=0\.9"):
        read("any")
    with pytest.raises(ValueError, match="both below and margin"):
        read(below=0.9)
    with pytest.raises(ValueError, match=r"below=90 .* not percent"):
        read(below=90, margin=0.1)
    with pytest.raises(ValueError, match="errors must be 'keep' or 'raise'"):
        read(errors="return")
    with pytest.raises(BadRequest, match="crnn"):
        read(model="crnn")
    with pytest.raises(BadRequest, match="not calibrated for the recogniser 'abbyy'"):
        client.read([SHARP_CROP], Reads([("a", 0.1)]), recogniser="abbyy", below=0.9, margin=0.1)


@pytest.mark.parametrize("limits", [{}, {"below": 0.9, "margin": 0.1}])
def test_without_a_service_the_plain_readings_stand(limits: dict[str, Any]) -> None:
    plain = [("Harbour", 0.95), ("Harbcur", 0.3)]
    with TelescopeClient(CLOSED, timeout_s=5) as client:
        found = client.read([SHARP_CROP, BLURRED_CROP], Reads(plain), recogniser="tesseract", **limits)
        assert [(one.text, one.confidence, one.kept) for one in found] == [(*one, "plain") for one in plain]
        assert isinstance(found[1].error, Unreachable)
        assert (found[0].error is None) == bool(limits)  # without limits any crop might have been sent
        with pytest.raises(Unreachable):
            client.read([BLURRED_CROP], Reads(plain[1:]), recogniser="tesseract", errors="raise", **limits)


def test_a_refused_crop_keeps_its_plain_reading_and_spares_the_others(client: TelescopeClient) -> None:
    crops, plain = [b"not a picture", encode(BLURRED_CROP, "png")], [("no", 0.2), ("a", 0.2)]
    refused, again = client.read(crops, Reads(plain, [("b", 0.9)]), recogniser="tesseract")
    assert (refused.text, again.text, again.error) == ("no", "b", None)
    assert isinstance(refused.error, BadImage)
    assert refused.error.problem.code == "undecodable_image"
    with pytest.raises(BadImage):
        client.read(crops, Reads(plain), recogniser="tesseract", errors="raise")


def test_a_reader_may_be_a_coroutine_function_or_run_in_a_thread(server: Server) -> None:
    reader = Reads([("Harbcur", 0.2), ("x", 1)], [("Harbour", 0.9)])

    async def awaited(crops: list[Any]) -> list[tuple[str, float]]:
        await asyncio.sleep(0)
        return Reads([("a", 0.3)], [("b", 0.2)])(crops)

    async def run() -> tuple[list[Reading], list[Reading], list[Reading]]:
        async with AsyncTelescopeClient(server.url) as client, AsyncTelescopeClient(CLOSED) as absent:
            return (
                await client.read([BLURRED_CROP, SHARP_CROP], reader, recogniser="tesseract"),
                await client.read([BLURRED_CROP], awaited, recogniser="tesseract", below=0.9, margin=0),
                await absent.read([BLURRED_CROP], awaited, recogniser="tesseract"),
            )

    threaded, coroutine, alone = asyncio.run(run())
    assert [one.text for one in threaded] == ["Harbour", "x"]
    assert (coroutine[0].text, coroutine[0].kept, coroutine[0].sent) == ("a", "plain", True)
    assert alone[0].text == "a"
    assert isinstance(alone[0].error, TelescopeError)
