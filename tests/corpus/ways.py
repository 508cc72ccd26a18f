"""Every way that pictures take into the product: name -> pixels as it read them, or its refusal as text.

The model's calibration never super-resolves, so the results for the recogniser "any" are the decoded pixels.
A refusal is `code: message`; empty if the way gives no code.
"""

import asyncio
import base64
import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from text_telescope import Answer, AsyncTelescopeClient, BadImage, TelescopeClient

from app.__main__ import main
from app.bulk.entries import JobOptions
from app.bulk.job import run
from app.bulk.kinds import batched
from app.bulk.ledger import Ledger
from app.imaging.quality_gate import QualityGate, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store.calibration import ANY, Calibration, Rule
from model_store.pixels import resize
from model_store.store import ModelStore
from tests.app.conftest import SPEC, Server
from tests.app.fakes import FakeRuntime, nearest_x2
from tests.corpus.drawing import File, Rgb
from training import predict
from training.data.crop_store import CropStore
from training.data.crops import Crop, decode_crop
from training.data.lmdb import Subset
from training.errors import DataError
from training.predictor import LoadedNetwork

Outcome = Rgb | str
Outcomes = dict[str, Outcome]
KEEPS = QualityGate(Calibration({ANY: Rule(min_blur=np.inf, max_noise=np.inf, target_blur=1.8, strength=1)}))
QUERY = f"recogniser={ANY}"
OTHERWISE_BY_PIL = (  # parts of names: Pillow's image does not have what the file says
    "raw profile APP1",  # not read
    "eXIf 6 with a wrong checksum",  # read all the same
    "xmp 42",  # read as 4
    "grey 2 tRNS",  # a level of 2 bits, beside pixels scaled to 8
    "grey 4 tRNS",
    "rgb 16 tRNS",
)


@dataclass(frozen=True)
class Tools:
    """decoded: the outcome of each file by the decoder itself."""

    files: Mapping[str, File]
    decoded: Outcomes
    server: Server
    store: Path
    folder: Path
    patch: pytest.MonkeyPatch

    def readable(self) -> dict[str, Rgb]:
        return {name: found for name, found in self.decoded.items() if not isinstance(found, str)}

    def written(self) -> dict[str, Path]:
        """All files in one folder; their numbers name them."""
        folder = self.folder / "in"
        folder.mkdir()
        paths = {name: folder / f"{number:04d}.png" for number, name in enumerate(self.files)}
        for name, path in paths.items():
            path.write_bytes(self.files[name].data)
        return paths


def pixels(png: bytes) -> Rgb:
    with Image.open(BytesIO(png)) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def _problem(fields: dict[str, str]) -> str:
    return f"{fields['code']}: {fields['detail']}"


# The service


def _answered(response: httpx.Response) -> Outcome:
    return pixels(response.content) if response.status_code == 200 else _problem(response.json())


def _entry(fields: dict) -> Outcome:
    if fields["outcome"] != "ok":
        return _problem(fields["problem"])
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
        found[name] = _entry(body["images"][0]) if answer.status_code == 200 else _problem(body)
    return found


# The client


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
            image = Image.open(BytesIO(tools.files[name].data))
            image.load()
        except Exception:  # Pillow reads fewer files than the service
            continue
        given[name] = image
    found: Outcomes = {}
    with _client(tools) as client:
        for name, image in given.items():
            try:
                (answer,) = client.answers([image], recogniser=ANY)
            except TypeError:  # a mode without agreed white, for example; the message names the right call
                continue
            found |= _of_answers([name], [answer])
    return found


# The commands


def _model(tools: Tools) -> LoadedModel:
    predictor = Predictor(FakeRuntime, spec=SPEC, batch_sizes=(1, 4))
    return LoadedModel(ModelStore(tools.store).resolve("tbsrn"), predictor, KEEPS)


def upscale(tools: Tools) -> Outcomes:
    """`python -m app upscale` over one folder."""
    tools.patch.setattr("app.serving.loading.load_model", lambda settings: _model(tools))
    return _upscaled(tools)


def upscale_by_a_service(tools: Tools) -> Outcomes:
    return _upscaled(tools, "--url", tools.server.url)


def _upscaled(tools: Tools, *options: str) -> Outcomes:
    lines: list[str] = []
    tools.patch.setattr("app.bulk.upscale.tqdm.write", lambda line, **_: lines.append(line))
    paths, out = tools.written(), tools.folder / "out"
    assert main(["upscale", str(tools.folder / "in"), "-o", str(out), "--recogniser", ANY, *options]) == 1
    failed = {line.split(": ", 1)[0] for line in lines}
    return {
        name: "" if str(path) in failed else pixels((out / path.name).read_bytes()) for name, path in paths.items()
    }


def _job(tools: Tools) -> dict[int, str]:
    """From folder/in to folder/out -> the failures by the files' numbers."""
    model = _model(tools)
    options = JobOptions("png", "native", RoutingPolicy("auto", ANY), None)
    try:
        run(tools.folder / "in", tools.folder / "out", options, Settings(model_store=tools.store), model=model)
    finally:
        model.predictor.close()
    lines = Ledger(tools.folder / "out").failures.read_text().splitlines()
    failed = [json.loads(line) for line in lines]
    return {_number(one["item"]): _problem(one) for one in failed}


def _number(item: str) -> int:
    return int(re.findall(r"\d+", item)[-1])


def _numbered(tools: Tools, failures: Mapping[int, str], results: Mapping[int, bytes]) -> Outcomes:
    return {
        name: failures[number] if number in failures else pixels(results[number])
        for number, name in enumerate(tools.files)
    }


def bulk_folder(tools: Tools) -> Outcomes:
    tools.written()
    failures = _job(tools)
    results = {_number(p.name): p.read_bytes() for p in (tools.folder / "out").glob("*.png")}
    return _numbered(tools, failures, results)


def bulk_tar(tools: Tools) -> Outcomes:
    from tests.app.bulk.sets import read_tar, write_tar

    members = {f"{number:04d}.png": file.data for number, file in enumerate(tools.files.values())}
    write_tar(tools.folder / "in" / "a.tar", members)
    failures = _job(tools)
    return _numbered(tools, failures, {_number(n): d for n, d in read_tar(tools.folder / "out" / "a.tar")})


def bulk_parquet(tools: Tools) -> Outcomes:
    pq = pytest.importorskip("pyarrow.parquet")
    from tests.app.bulk.sets import write_parquet

    data = [file.data for file in tools.files.values()]
    write_parquet(tools.folder / "in" / "a.parquet", image=data, key=[str(i) for i in range(len(data))])
    failures = _job(tools)
    results = pq.read_table(tools.folder / "out" / "a.parquet")["image"].to_pylist()
    return _numbered(tools, failures, dict(enumerate(results)))


def bulk_lmdb(tools: Tools) -> Outcomes:
    from tests.app.bulk.sets import read_lmdb, write_lmdb

    entries = {f"image-{number:09d}": file.data for number, file in enumerate(tools.files.values())}
    write_lmdb(tools.folder / "in" / "a", entries)
    failures = _job(tools)
    return _numbered(tools, failures, {_number(k): d for k, d in read_lmdb(tools.folder / "out" / "a").items()})


# Training, which limits no sizes; its refusals are sentences without a code


def _trained_on(tools: Tools) -> dict[str, File]:
    limits = ("too_many_pixels", "image_too_small")
    return {name: file for name, file in tools.files.items() if not set(limits) & set(file.codes)}


def training_crops(tools: Tools) -> Outcomes:
    found: Outcomes = {}
    for name, file in _trained_on(tools).items():
        try:
            found[name] = decode_crop(Crop(name, "word", file.data))
        except DataError:
            found[name] = ""
    return found


def training_lmdb(tools: Tools) -> Outcomes:
    from tests.app.bulk.sets import write_lmdb

    files = _trained_on(tools)
    entries = {"num-samples": str(len(files)).encode()}
    for number, file in enumerate(files.values(), 1):
        entries |= {f"label-{number:09d}": b"word", f"image-{number:09d}": file.data}
    write_lmdb(tools.folder / "words", entries)
    subset = Subset(tools.folder / "words")
    samples = {name: subset.read(index) for index, name in enumerate(files)}
    subset.close()
    return {name: "" if sample is None else sample.hr for name, sample in samples.items()}


def training_crop_store(tools: Tools) -> Outcomes:
    files = _trained_on(tools)
    names = dict(enumerate(files))
    for number, name in names.items():
        (tools.folder / f"{number}.png").write_bytes(files[name].data)
    (tools.folder / "labels.tsv").write_text("".join(f"{number}.png\t{number}\n" for number in names))
    found: Outcomes = dict.fromkeys(files, "")
    for low in (False, True):
        found |= {names[int(s.label)]: s.hr for s in CropStore(tools.folder, low=low)}
    return found


def training_predict(tools: Tools) -> Outcomes:
    """With --compare it writes the crop at the network's size; other crops' pixels give other ones there."""
    network = LoadedNetwork("fake", "fake", "0", SPEC, nearest_x2)
    tools.patch.setattr(predict, "open_weights", lambda *_, **__: network)
    files, out = _trained_on(tools), tools.folder / "out"
    paths = {name: path for name, path in tools.written().items() if name in files}
    args = Namespace(image=list(paths.values()), out=out, weights="fake", engine="auto", store=None, compare=True)
    with pytest.raises(DataError, match="could not be read"):
        predict.run(args)
    found: Outcomes = {}
    for name, path in paths.items():
        lr = out / f"lr_{path.name}"
        found[name] = pixels(lr.read_bytes()) if lr.exists() else ""
    return found


def at_network_size(rgb: Rgb) -> Rgb:
    return resize(rgb, height=SPEC.height, width=SPEC.width)


WAYS: tuple[Callable[[Tools], Outcomes], ...] = (
    raw_bodies,
    multipart,
    pages,
    client_bytes,
    client_paths,
    client_file_objects,
    client_arrays,
    client_of_asyncio,
    client_pil_images,
    upscale,
    upscale_by_a_service,
    bulk_folder,
    bulk_tar,
    bulk_parquet,
    bulk_lmdb,
    training_crops,
    training_lmdb,
    training_crop_store,
    training_predict,
)
