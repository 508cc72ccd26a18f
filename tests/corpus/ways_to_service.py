"""The service over HTTP, and the client in front of it: name -> outcome."""

import asyncio
import base64
import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from text_telescope import Answer, AsyncTelescopeClient, BadImage, TelescopeClient

from app.bulk.kinds import batched
from model_store.calibration import ANY
from tests.corpus.tools import QUERY, Outcome, Outcomes, Tools, pixels, problem

OTHERWISE_BY_PIL = (  # parts of names: Pillow's image does not have what the file says
    "raw profile APP1",  # not read
    "eXIf 6 with a wrong checksum",  # read all the same
    "xmp 42",  # read as 4
    "grey 2 tRNS",  # a level of 2 bits, beside pixels scaled to 8
    "grey 4 tRNS",
    "rgb 16 tRNS",
)


def _answered(response: httpx.Response) -> Outcome:
    return pixels(response.content) if response.status_code == 200 else problem(response.json())


def _entry(fields: dict[str, Any]) -> Outcome:
    if fields["outcome"] != "ok":
        return problem(fields["problem"])
    assert fields["method"] == "kept"
    return pixels(base64.b64decode(fields["data"]))


def raw_bodies(tools: Tools) -> Outcomes:
    headers = {"Content-Type": "image/png"}
    post = tools.server.client.post
    return {
        name: _answered(post(f"/v1/super-resolve?{QUERY}", content=file.data, headers=headers))
        for name, file in tools.files.items()
    }


def multipart(tools: Tools) -> Outcomes:
    """Many pictures in each request."""
    found: Outcomes = {}
    for some in batched(tools.files.values(), 64):
        answer = tools.server.post(*(file.data for file in some), query=f"?{QUERY}")
        assert answer.status_code == 200, answer.text
        entries = answer.json()["images"]
        found |= {file.name: _entry(fields) for file, fields in zip(some, entries, strict=True)}
    return found


def pages(tools: Tools) -> Outcomes:
    """One region, which covers the page."""
    found: Outcomes = {}
    for name, file in tools.files.items():
        rgb = tools.decoded[name]
        height, width = (32, 48) if isinstance(rgb, str) else rgb.shape[:2]
        answer = tools.server.client.post(
            f"/v1/super-resolve/regions?{QUERY}",
            files={"image": ("page", file.data)},
            data={"regions": json.dumps([[0, 0, width, height]])},
            headers={"Accept": "application/json"},
        )
        body = answer.json()
        found[name] = _entry(body["images"][0]) if answer.status_code == 200 else problem(body)
    return found


def _client(tools: Tools) -> TelescopeClient:
    return TelescopeClient(tools.server.url, max_images=32)


def _of_answers(names: Iterable[str], answers: Iterable[Answer | BadImage]) -> Outcomes:
    return {
        name: answer.array() if isinstance(answer, Answer) else f"{answer.problem.code}: {answer.problem.detail}"
        for name, answer in zip(names, answers, strict=True)
    }


def client_bytes(tools: Tools) -> Outcomes:
    with _client(tools) as client:
        return _of_answers(tools.files, client.answers([f.data for f in tools.files.values()], recogniser=ANY))


def client_paths(tools: Tools) -> Outcomes:
    with _client(tools) as client:
        return _of_answers(tools.files, client.answers(list(tools.written().values()), recogniser=ANY))


def client_file_objects(tools: Tools) -> Outcomes:
    """An empty one cannot be told from one that was read to its end; the client says so itself."""
    given = {name: BytesIO(file.data) for name, file in tools.files.items() if file.data}
    with _client(tools) as client:
        return _of_answers(given, client.answers(list(given.values()), recogniser=ANY))


def client_arrays(tools: Tools) -> Outcomes:
    given = tools.readable()
    with _client(tools) as client:
        return _of_answers(given, client.answers(list(given.values()), recogniser=ANY))


def client_of_asyncio(tools: Tools) -> Outcomes:
    async def answers() -> list[Answer | BadImage]:
        async with AsyncTelescopeClient(tools.server.url, max_images=32) as client:
            return await client.answers([f.data for f in tools.files.values()], recogniser=ANY)

    return _of_answers(tools.files, asyncio.run(answers()))


def client_pil_images(tools: Tools) -> Outcomes:
    """The pictures that Pillow opens, and that the client takes as an image."""
    given: dict[str, Image.Image] = {}
    for name in tools.readable():
        if any(part in name for part in OTHERWISE_BY_PIL):
            continue
        try:
            opened = Image.open(BytesIO(tools.files[name].data))
            opened.load()
        except Exception:  # Pillow reads fewer files than the service
            continue
        given[name] = opened
    found: Outcomes = {}
    with _client(tools) as client:
        for name, image in given.items():
            try:
                (answer,) = client.answers([image], recogniser=ANY)
            except TypeError:  # a mode without agreed white, for example; the message names the right call
                continue
            found |= _of_answers([name], [answer])
    return found
