"""The Open Inference Protocol, spoken by Triton's own client."""

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from app.http.api_keys import new_key
from app.imaging.decode import decode
from app.imaging.encode import encode
from app.settings import Settings
from model_store.pixels import Nchw, crops_to_lr
from tests.app.conftest import SPEC, Server, assert_reconciled, png
from tests.app.fakes import nearest_x2
from tests.app.process import wait_until

triton = pytest.importorskip("tritonclient.http", reason="Triton's client is not installed (the extra dev has it)")
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]  # noqa: E402 - it has no types

Start = Callable[..., Server]
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def tiles(seed: int, count: int = 1) -> Nchw:
    """Tiles of any colours."""
    return np.random.default_rng(seed).random((count, 3, 16, 64), np.float32)


def lr_input(lr: np.ndarray, *, name: str = "lr", datatype: str = "FP32", binary: bool = True) -> Any:
    tensor = triton.InferInput(name, list(lr.shape), datatype)
    return tensor.set_data_from_numpy(lr, binary_data=binary)


def body(lr: np.ndarray, **changes: Any) -> dict[str, Any]:
    """The JSON of a request."""
    tensor = {"name": "lr", "shape": list(lr.shape), "datatype": "FP32", "data": lr.ravel().tolist()}
    return {"inputs": [tensor | changes]}


def test_health_and_metadata_are_those_that_the_client_expects(server: Server, client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tbsrn")
    assert client.is_model_ready("tbsrn", "1")
    assert not client.is_model_ready("tbsrn", "7")
    metadata = client.get_server_metadata()
    assert metadata["name"] == "text-telescope"
    assert metadata["extensions"] == ["binary_tensor_data", "model_configuration"]
    assert client.get_model_metadata("tbsrn") == client.get_model_metadata("tbsrn", "1")
    assert client.get_model_metadata("tbsrn") == {
        "name": "tbsrn",
        "versions": ["1"],
        "platform": "fake",
        "inputs": [{"name": "lr", "datatype": "FP32", "shape": [-1, 3, 16, 64]}],
        "outputs": [{"name": "sr", "datatype": "FP32", "shape": [-1, 3, 32, 128]}],
    }
    config = client.get_model_config("tbsrn")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (64, [3, 16, 64])
    assert config["parameters"]["input_sizes"]["string_value"] == "16x64"
    assert client.get_model_repository_index() == [
        {"name": "tbsrn", "version": "1", "state": "READY", "reason": ""}
    ]
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}


def test_a_draining_service_lives_and_is_not_ready(start_server: Start) -> None:
    server = start_server()
    server.app.state.models.begin_drain()
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("tbsrn")
        assert client.get_model_repository_index()[0]["state"] == "UNAVAILABLE"
        with pytest.raises(InferenceServerException, match="send the request to another replica"):
            client.infer("tbsrn", [lr_input(tiles(0))])


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tensors_travel_as_json_and_as_binary_data(client: Any, binary_in: bool, binary_out: bool | None) -> None:
    lr = tiles(1, count=3)
    outputs = None if binary_out is None else [triton.InferRequestedOutput("sr", binary_data=binary_out)]
    result = client.infer(
        "tbsrn", [lr_input(lr, binary=binary_in)], model_version="1", outputs=outputs, request_id="a request"
    )
    assert np.array_equal(result.as_numpy("sr"), nearest_x2(lr))
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("a request", "tbsrn", "1")
    assert ("data" in response["outputs"][0]) == (binary_out is False)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_a_compressed_body_is_unpacked(client: Any, algorithm: str, binary: bool) -> None:
    lr = tiles(2)
    result = client.infer("tbsrn", [lr_input(lr, binary=binary)], request_compression_algorithm=algorithm)
    assert np.array_equal(result.as_numpy("sr"), nearest_x2(lr))


def test_json_may_be_nested_and_the_response_is_json_unless_binary_data_is_asked_for(server: Server) -> None:
    lr = tiles(3, count=2)
    response = server.client.post("/v2/models/tbsrn/infer", json=body(lr, data=lr.tolist()) | {"id": ""})
    output = response.json()["outputs"][0]
    assert response.headers["content-type"] == "application/json"
    assert (response.json()["id"], output["shape"]) == ("", [2, 3, 32, 128])
    assert np.array_equal(np.array(output["data"], np.float32).reshape(2, 3, 32, 128), nearest_x2(lr))
    assert "id" not in server.client.post("/v2/models/tbsrn/infer", json=body(lr)).json()


def test_the_asyncio_client_works_alike(server: Server) -> None:
    async def ask() -> np.ndarray:
        from tritonclient.http.aio import InferenceServerClient  # type: ignore[import-untyped]  # as above

        async with InferenceServerClient(server.url.removeprefix("http://")) as client:
            assert await client.is_server_ready()
            result = await client.infer("tbsrn", [lr_input(tiles(4))])
            return np.asarray(result.as_numpy("sr"))

    assert np.array_equal(asyncio.run(ask()), nearest_x2(tiles(4)))


def test_a_tensor_gets_the_pixels_that_its_crop_gets(start_server: Start) -> None:
    server = start_server()
    crop = np.random.default_rng(5).integers(0, 256, (16, 64, 3), np.uint8)
    picture = decode(server.post(encode(crop, "png"), query="?geometry=telescope").content)
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        sr = client.infer("tbsrn", [lr_input(crops_to_lr([crop], SPEC))]).as_numpy("sr")
    assert np.array_equal(np.rint(sr[0].transpose(1, 2, 0) * 255), picture)
    assert server.metric("telescope_decisions_total", method="super_resolved", reason="always") == 2
    assert_reconciled(server)


def test_tensors_and_pictures_of_many_clients_are_never_mixed_up(start_server: Start) -> None:
    server = start_server()
    warm_up = len(server.runtime.batches)

    def tensors(seed: int) -> None:
        with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
            for turn in range(10):
                lr = tiles(100 * seed + turn, count=1 + (seed + turn) % 5)
                result = client.infer("tbsrn", [lr_input(lr, binary=turn % 3 > 0)], request_id=f"{seed}.{turn}")
                assert np.array_equal(result.as_numpy("sr"), nearest_x2(lr))
                assert result.get_response()["id"] == f"{seed}.{turn}"

    def pictures(seed: int) -> None:
        for turn in range(10):
            colour = (seed * 20, turn * 20, 99)
            sent = [png(colour), png((1, 2, 3))]
            listed = server.post(*sent, query="?geometry=telescope", headers={"Accept": "application/zip"})
            assert listed.status_code == 200
            assert (decode(server.post(sent[0], query="?geometry=telescope").content) == colour).all()

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(job, seed) for seed in range(4) for job in (tensors, pictures)]
        for job in jobs:
            job.result(60)
    assert max(server.runtime.batches[warm_up:]) == 4, "requests share batches"
    assert_reconciled(server)


WRONG = {
    "an input of another name": (lr_input(tiles(0), name="input"), "There is no input 'input'; .* is 'lr'"),
    "another datatype": (
        lr_input(tiles(0).astype(np.float16), datatype="FP16"),
        "The datatype of 'lr' is 'FP16'; send FP32",
    ),
    "channels last": (
        lr_input(np.zeros((1, 16, 64, 3), np.float32)),
        r"transpose\(0, 3, 1, 2\) puts",
    ),
    "no batch": (lr_input(np.zeros((3, 16, 64), np.float32)), r"\[3, 16, 64\]; send \[N, 3, h, w\]"),
    "no tile": (lr_input(np.zeros((0, 3, 16, 64), np.float32)), r"\[0, 3, 16, 64\]; send"),
    "another size": (lr_input(np.zeros((1, 3, 32, 100), np.float32)), "h x w one of 16x64"),
    "too many tiles": (lr_input(np.zeros((65, 3, 16, 64), np.float32)), "At most 64 tiles"),
    "NaN": (lr_input(np.full((1, 3, 16, 64), np.nan, np.float32)), "NaN or infinity"),
    "infinity": (lr_input(np.full((1, 3, 16, 64), np.inf, np.float32)), "NaN or infinity"),
    "8-bit levels": (lr_input(np.full((1, 3, 16, 64), 200, np.float32)), "200 to 200; .* divided by 255"),
    "normalised": (lr_input(np.full((1, 3, 16, 64), -1, np.float32)), "not normalised"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_input_is_refused_with_the_right_call(client: Any, name: str) -> None:
    tensor, message = WRONG[name]
    with pytest.raises(InferenceServerException, match=message) as caught:
        client.infer("tbsrn", [tensor])
    assert caught.value.status() in ("400", "413")


def test_a_wrong_model_output_or_number_of_inputs_is_refused_with_the_right_call(client: Any) -> None:
    good = lr_input(tiles(0))
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: client.infer("esrgan", [good]), "'esrgan' is not served here; served: tbsrn:1"),
        (lambda: client.infer("tbsrn", [good], model_version="7"), "'tbsrn:7' is not served here"),
        (lambda: client.get_model_metadata("esrgan"), "'esrgan' is not served here"),
        (lambda: client.get_model_config("tbsrn", "x"), "'tbsrn:x' is not served here"),
        (lambda: client.infer("tbsrn", [good, good]), "has 2 inputs; send one, 'lr'"),
        (
            lambda: client.infer("tbsrn", [good], outputs=[triton.InferRequestedOutput("hr")]),
            "asked for are 'hr'; the model's only output is 'sr'",
        ),
        (
            lambda: client.infer("tbsrn", [good], outputs=[triton.InferRequestedOutput("sr", class_count=3)]),
            "classification is not supported",
        ),
        (lambda: client.infer("tbsrn", [good], timeout=-1), "timeout must be 0 to"),
        (lambda: client.get_log_settings(), "There is no address /v2/logging"),
        (lambda: client.load_model("tbsrn"), "There is no address /v2/repository/models/tbsrn/load"),
    )
    for call, message in calls:
        with pytest.raises(InferenceServerException, match=message):
            call()


LR = tiles(0)
BYTES = LR.tobytes()
TOO_MANY = 60_000  # lists or objects that are read, and refused then
BROKEN: dict[str, tuple[object, str]] = {
    "empty": (b"", "The body is empty; send"),
    "no JSON": (b"hello", "The JSON cannot be read: expected value at line 1 column 1"),
    "NaN in JSON": (b'{"inputs": [NaN]}', "The JSON cannot be read"),
    "deep JSON": (b"[" * 60_000, "recursion limit exceeded"),
    "a million objects": ({"inputs": [{}] * 1_000_000}, "too many lists, objects and strings; send 'data'"),
    "many names": (body(LR, data={str(i): 0 for i in range(TOO_MANY)}), "too many lists, objects and strings"),
    "a list": ([], "The request: Input should be"),
    "no inputs": ({}, "inputs: Field required"),
    "empty inputs": ({"inputs": []}, "has 0 inputs"),
    "many wrong inputs": ({"inputs": [{}] * TOO_MANY}, "inputs.0.name: Field required"),
    "many outputs": (body(LR) | {"outputs": [{"name": "sr"}] * 9_000}, "at most 8 items"),
    "a number as id": (body(LR) | {"id": 7}, "id: Input should be a valid string"),
    "a timeout beyond numbers": (body(LR) | {"parameters": {"timeout": 10**400}}, "timeout must be 0 to"),
    "a float in the shape": (body(LR, shape=[1.5, 3, 16, 64]), "inputs.0.shape.0: Input should be"),
    "a negative shape": (body(LR, shape=[-1, 3, 16, 64]), "[-1, 3, 16, 64]; send"),
    "a shape whose product overflows": (body(LR, shape=[2**62, 3, 16, 64]), "At most 64 tiles"),
    "a shape of huge sides": (body(LR, shape=[1, 3, 2**40, 2**40]), "h x w one of 16x64"),
    "a shape of many dimensions": (body(LR, shape=[1] * 100_000), "at most 8 items"),
    "a shape of two dimensions": (body(LR, shape=[48, 64]), "is [48, 64]; send [N, 3, h, w]"),
    "no data": (body(LR, data=None), "neither 'data' nor binary data"),
    "too few numbers": (body(LR, data=[0.5] * 100), "a list of the shape [100]; the shape [1, 3, 16, 64] takes"),
    "numbers of another shape": (body(LR, data=LR[0].tolist()), "a list of the shape [3, 16, 64]"),
    "many empty lists": (body(LR, data=[[]] * TOO_MANY), "a list of the shape [60000, 0]"),
    "ragged lists": (body(LR, data=[[*LR[0].tolist()[:2], [[1], [2]]]]), "must be one list of numbers"),
    "a number": (body(LR, data=0.5), "a list of the shape []"),
    "an object": (body(LR, data={}), "a list of the shape []"),
    "texts": (body(LR, data=["0.5"] * 3072), "must be one list of numbers"),
    "texts among numbers": (body(LR, data=[0.5] * 3071 + ["a" * 100_000]), "must be one list of numbers"),
    "null": (body(LR, data=[None] * 3072), "NaN or infinity"),
    "huge numbers": (body(LR, data=[10**400] * 3072), "must be one list of numbers"),
    "infinite numbers": (body(LR, data=[1e300] * 3072), "NaN or infinity"),
    "shared memory": (body(LR, parameters={"shared_memory_region": "x"}), "shared_memory_region is not supported"),
    "a text as size": (body(LR, parameters={"binary_data_size": "1"}), "binary_data_size must be a whole number"),
    "binary data announced and missing": (
        body(LR, data=None, parameters={"binary_data_size": len(BYTES)}),
        "binary_data_size is 12288, and 0 bytes follow the JSON",
    ),
    "JSON that takes too long": (b" " * 9_000_000, "Send the tensor as binary data"),
}
HEADERS = {
    "an unknown encoding": ({"Content-Encoding": "br"}, 415, "send the body as it is, or as gzip or deflate"),
    "no gzip": ({"Content-Encoding": "gzip"}, 400, "the body is not gzip data"),
    "a wrong deadline": ({"X-Request-Timeout-Ms": "0"}, 422, "X-Request-Timeout-Ms is '0'"),
    "a length beyond the body": ({LENGTH: "99999999"}, 400, "it must be the length of the JSON"),
    "a length of 0": ({LENGTH: "0"}, 400, "it must be the length of the JSON"),
    "a length of text": ({LENGTH: "1e3"}, 400, "it must be the length of the JSON"),
    "a length within the JSON": ({LENGTH: "50"}, 400, "The JSON cannot be read"),
}


def assert_refused(response: httpx.Response, message: str) -> None:
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]
    assert len(response.json()["error"]) < 500
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_answered_in_the_protocols_form(server: Server, name: str) -> None:
    content, message = BROKEN[name]
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    response = server.client.post("/v2/models/tbsrn/infer", content=data)
    assert response.status_code in (400, 413), response.text
    assert_refused(response, message)


@pytest.mark.parametrize("name", HEADERS)
def test_a_wrong_header_is_answered_in_the_protocols_form(server: Server, name: str) -> None:
    headers, status, message = HEADERS[name]
    response = server.client.post("/v2/models/tbsrn/infer", json=body(LR), headers=headers)
    assert response.status_code == status, response.text
    assert_refused(response, message)


@pytest.mark.parametrize(
    ("size", "data", "header", "message"),
    [
        (len(BYTES), BYTES[:-4], True, "12284 bytes follow the JSON; the three must be equal"),
        (len(BYTES), BYTES + b"more", True, "12292 bytes follow the JSON"),
        (len(BYTES) - 4, BYTES, True, "binary_data_size is 12284"),
        (-1, BYTES, True, "binary_data_size is -1"),
        (None, BYTES, True, "12288 bytes follow the JSON, and 'lr' has no binary_data_size"),
        (len(BYTES), BYTES, False, "the header Inference-Header-Content-Length gives the length"),
    ],
)
def test_binary_data_must_fit_the_shape(
    server: Server, size: int | None, data: bytes, header: bool, message: str
) -> None:
    parameters = {} if size is None else {"binary_data_size": size}
    text = json.dumps(body(LR, data=None, parameters=parameters)).encode()
    headers = {LENGTH: str(len(text))} if header else {}
    response = server.client.post("/v2/models/tbsrn/infer", content=text + data, headers=headers)
    assert (response.status_code, message in response.json()["error"]) == (400, True), response.text


def test_requests_and_tiles_are_counted_as_those_of_pictures_are(start_server: Start) -> None:
    server = start_server()
    path = "/v2/models/{name}/infer"
    assert server.metric("telescope_requests_total", route=path) == 0
    assert server.client.post("/v2/models/tbsrn/infer", content=b"[").status_code == 400
    assert server.metric("telescope_images_received_total") == 0
    server.runtime.fail_on = 1.25
    cursed = server.client.post("/v2/models/tbsrn/infer", json=body(np.full((2, 3, 16, 64), 1.25, np.float32)))
    assert (cursed.status_code, list(cursed.json())) == (500, ["error"])
    assert server.client.post("/v2/models/tbsrn/infer", json=body(tiles(6, count=5))).status_code == 200
    wait_until(lambda: server.metric("telescope_requests_total", route=path) == 3)
    assert server.metric("telescope_requests_total", route=path, outcome="bad_input") == 1
    assert server.metric("telescope_images_total", outcome="failed") == 2
    assert server.metric("telescope_images_total", outcome="ok") == 5
    assert_reconciled(server)


def test_a_bomb_of_compressed_data_is_refused(start_server: Start) -> None:
    server = start_server(max_request_bytes=1_000_000)
    response = server.client.post(
        "/v2/models/tbsrn/infer", content=gzip.compress(bytes(10**7)), headers={"Content-Encoding": "gzip"}
    )
    assert (response.status_code, "larger than 1000000 bytes" in response.text) == (413, True)
    cut = gzip.compress(json.dumps(body(LR)).encode())[:-20]
    response = server.client.post("/v2/models/tbsrn/infer", content=cut, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, "cut off" in response.text) == (400, True)


def test_overload_is_answered_with_the_time_to_wait(start_server: Start) -> None:
    server = start_server(max_queue_windows=8, max_images=8)
    server.runtime.gate.clear()
    pending = threading.Thread(target=lambda: server.client.post("/v2/models/tbsrn/infer", json=body(tiles(8, 8))))
    pending.start()
    wait_until(lambda: server.metric("telescope_admitted_windows") == 8)
    refused = server.client.post("/v2/models/tbsrn/infer", json=body(tiles(9)))
    assert (refused.status_code, list(refused.json())) == (429, ["error"])
    assert int(refused.headers["retry-after"]) >= 1
    server.runtime.gate.set()
    pending.join()
    assert_reconciled(server)


def test_the_timeout_of_the_protocol_shortens_the_deadline(start_server: Start) -> None:
    server = start_server()
    server.runtime.gate.clear()
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        with pytest.raises(InferenceServerException, match="The deadline passed") as caught:
            client.infer("tbsrn", [lr_input(tiles(11))], timeout=50_000)
        assert caught.value.status() == "504"
        server.runtime.gate.set()
        assert client.infer("tbsrn", [lr_input(tiles(11))], timeout=30_000_000)


def test_the_tiles_of_a_client_that_goes_away_are_cancelled(start_server: Start) -> None:
    server = start_server()
    server.runtime.gate.clear()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v2/models/tbsrn/infer", json=body(tiles(14, count=3)), timeout=0.3)
    wait_until(lambda: server.metric("telescope_images_total", outcome="cancelled") == 3)
    assert server.metric("telescope_admitted_windows") == 0


def test_keys_guard_everything_but_health(start_server: Start) -> None:
    key, stored = new_key("shop")
    server = start_server(api_keys=stored.entry(), key_rate_per_s=0.001, key_burst=4)
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="asks for an API key") as caught:
            client.get_server_metadata()
        assert caught.value.status() == "401"
        headers = {"Authorization": f"Bearer {key}"}
        assert client.get_server_metadata(headers=headers)
        assert client.infer("tbsrn", [lr_input(tiles(12, count=8))], headers=headers)
        with pytest.raises(InferenceServerException, match="has used up its") as caught:
            client.infer("tbsrn", [lr_input(tiles(12))], headers=headers)
        assert caught.value.status() == "429"


def test_limits_follow_the_settings(start_server: Start) -> None:
    server = start_server(max_images=2)
    assert Settings().max_images == 64
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.get_model_config("tbsrn")["max_batch_size"] == 2
        with pytest.raises(InferenceServerException, match="At most 2 tiles"):
            client.infer("tbsrn", [lr_input(tiles(13, count=3))])
