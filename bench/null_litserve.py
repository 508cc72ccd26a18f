"""The LitServe side of `bench.null`: a separate module, because LitServe sends the class to another process."""

import logging
from collections.abc import Callable

import litserve
from fastapi import Response

logging.disable(logging.ERROR)  # LitServe logs an error for every connection that the client closes at the end


class Api(litserve.LitAPI):  # type: ignore[misc]  # LitServe has no types
    def __init__(self, enlarge: Callable[[bytes], bytes]) -> None:
        super().__init__(api_path="/v1/super-resolve")
        self._enlarge = enlarge

    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: litserve.Request) -> bytes:
        data: bytes = request["image"].file.read()  # LitServe would parse a raw body as JSON
        return data

    def predict(self, data: bytes) -> bytes:
        return self._enlarge(data)

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


def serve(port: int, enlarge: Callable[[bytes], bytes]) -> None:
    server = litserve.LitServer(Api(enlarge), accelerator="cpu", healthcheck_path="/readyz", fast_queue=True)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")
