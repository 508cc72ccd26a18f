"""Servers that return a picture at twice its size without a network, to measure HTTP, decoding and encoding alone.

    python -m bench.null serve --side service      Text Telescope with a runtime that repeats pixels
    python -m bench.null serve --side bare         a FastAPI handler that only decodes, enlarges and encodes
    python -m bench.null serve --side litserve     the same as a LitServe API (extra `bench`)

All use the service's decoder and encoder. `python -m bench http` starts them; each writes its address to stderr.
"""

import argparse
import socket
import sys

from app.imaging.decode import decode
from app.imaging.encode import encode
from app.inference.predictor import Predictor
from app.main import create_app
from app.server.server import serve
from app.server.sockets import bind
from app.serving.loading import LoadedModel
from app.settings import load_settings
from app.telemetry.logs import configure_logging
from model_store.pixels import Nchw
from model_store.store import ModelStore


def enlarge(png: bytes) -> bytes:
    return encode(decode(png).repeat(2, axis=0).repeat(2, axis=1), "png")


class NullRuntime:
    name, device, precision, streams = "null", "cpu", "fp32", 1

    def run(self, lr_nchw: Nchw) -> Nchw:
        return lr_nchw.repeat(2, axis=2).repeat(2, axis=3)

    def close(self) -> None:
        pass

    rest = close


def service(port: int) -> None:
    settings = load_settings(port=port)
    configure_logging(settings.log_level)  # the cost of a line for each request is part of the service
    artefact = ModelStore(settings.model_store).resolve(settings.model[0])
    sizes, batch_sizes = artefact.manifest.input_sizes, settings.batch_sizes
    predictor = Predictor(NullRuntime, spec=artefact.manifest.pixels, batch_sizes=batch_sizes, input_sizes=sizes)
    serve(create_app(settings, [LoadedModel(artefact, predictor)]), bind(settings))


def bare(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app = FastAPI()
    app.get("/readyz")(lambda: "ready")

    @app.post("/v1/super-resolve")
    async def handler(request: Request) -> Response:
        if request.headers["content-type"] == "image/png":
            png = await request.body()
        else:
            async with request.form() as form:
                upload = form["image"]
                assert not isinstance(upload, str)
                png = await upload.read()
        # on the event loop: handing so little work to a thread halves the requests a second
        return Response(enlarge(png), media_type="image/png")

    uvicorn.run(app, port=port, access_log=False, log_level="warning")


def litserve(port: int) -> None:
    from bench.null_litserve import serve

    serve(port, enlarge)


if __name__ == "__main__":
    sides = {"service": service, "bare": bare, "litserve": litserve}
    parser = argparse.ArgumentParser(prog="python -m bench.null")
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--side", choices=sides, required=True)
    args = parser.parse_args()
    if not args.port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            args.port = free.getsockname()[1]
        print(f"listens on http://127.0.0.1:{args.port}", file=sys.stderr, flush=True)
    sides[args.side](args.port)
