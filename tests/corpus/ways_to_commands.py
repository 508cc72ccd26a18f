"""`text-telescope upscale` and `text-telescope bulk`: name -> outcome."""

import json
import re
from collections.abc import Mapping

import pytest

from app.__main__ import main
from app.bulk.entries import JobOptions
from app.bulk.job import run
from app.bulk.ledger import Ledger
from app.imaging.quality_gate import RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.loading import LoadedModel
from app.settings import Settings
from model_store.calibration import ANY
from model_store.store import ModelStore
from tests.app.conftest import SPEC
from tests.app.fakes import FakeRuntime
from tests.corpus.tools import KEEPS, Outcomes, Tools, pixels, problem


def _model(tools: Tools) -> LoadedModel:
    predictor = Predictor(FakeRuntime, spec=SPEC, batch_sizes=(1, 4))
    return LoadedModel(ModelStore(tools.store).resolve("tbsrn"), predictor, KEEPS)


def upscale(tools: Tools) -> Outcomes:
    """`text-telescope upscale` over one folder."""
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
    return {_number(one["item"]): problem(one) for one in failed}


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
