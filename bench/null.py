"""Servers that return a picture at twice its size without a network, to measure HTTP, decoding and encoding alone.

    python -m bench.null serve --side service      Text Telescope with a runtime that repeats pixels
    python -m bench.null serve --side bare         a FastAPI handler that only decodes, enlarges and encodes
    python -m bench.null serve --side litserve     the same as a LitServe API (extra `bench`)

`--codec pillow` makes `bare` and `litserve` decode and encode with Pillow's defaults, as most users would.
`python -m bench http` starts them; each writes its address to stderr.
"""

import argparse
import socket
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy.typing as npt
from PIL import Image

from app.imaging.decode import decode
from app.imaging.encode import encode

Pixels = npt.NDArray[Any]
Enlarge = Callable[[bytes], bytes]


def twice(pixels: Pixels, *, axes: tuple[int, int]) -> Pixels:
    """Each pixel becomes a block of four equal pixels."""
    return pixels.repeat(2, axis=axes[0]).repeat(2, axis=axes[1])


def enlarge(png: bytes) -> bytes:
    """Decode, enlarge and encode with the service's own decoder and encoder."""
    return encode(twice(decode(png), axes=(0, 1)), "png")


def enlarge_by_pillow(png: bytes) -> bytes:
    image = Image.open(BytesIO(png)).convert("RGB")
    made = BytesIO()
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(made, "PNG")
    return made.getvalue()


CODECS: dict[str, Enlarge] = {"ours": enlarge, "pillow": enlarge_by_pillow}


class NullRuntime:
    name, device, precision, streams = "null", "cpu", "fp32", 1

    def run(self, lr_nchw: Pixels) -> Pixels:
        return twice(lr_nchw, axes=(2, 3))

    def close(self) -> None:
        pass


def service(port: int, _: Enlarge) -> None:
    from app.inference.predictor import Predictor
    from app.main import create_app
    from app.server.server import bind, serve
    from app.serving.loading import LoadedModel
    from app.settings import load_settings
    from app.telemetry.logs import configure_logging
    from model_store.store import ModelStore

    settings = load_settings(port=port)
    sockets = bind(settings)
    configure_logging(settings.log_level)
    artefact = ModelStore(settings.model_store).resolve(settings.model[0])
    manifest = artefact.manifest
    predictor = Predictor(
        NullRuntime, spec=manifest.pixels, batch_sizes=settings.batch_sizes, input_sizes=manifest.input_sizes
    )
    serve(create_app(settings, [LoadedModel(artefact, predictor)]), sockets)


def bare(port: int, enlarge: Enlarge) -> None:
    import uvicorn
    from fastapi import FastAPI, Request, Response

    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> None:
        pass

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

    listening = socket.create_server(("127.0.0.1", port))
    announce(listening.getsockname()[1])
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listening])


def litserve(port: int, enlarge: Enlarge) -> None:
    from bench.null_litserve import serve

    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    announce(port)
    serve(port, enlarge)


def announce(port: int) -> None:
    print(f"listens on http://127.0.0.1:{port}", file=sys.stderr, flush=True)


SIDES: dict[str, Callable[[int, Enlarge], None]] = {"service": service, "bare": bare, "litserve": litserve}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.null")
    parser.add_argument("serve", choices=["serve"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--codec", choices=CODECS, default="ours")
    args = parser.parse_args()
    SIDES[args.side](args.port, CODECS[args.codec])


if __name__ == "__main__":
    main()
