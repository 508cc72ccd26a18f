"""The readers of training, which limit no sizes and whose refusals have no code: name -> outcome."""

from argparse import Namespace

import pytest

from model_store.pixels import resize
from tests.app.conftest import SPEC
from tests.app.fakes import nearest_x2
from tests.corpus.drawing import File, Rgb
from tests.corpus.tools import Outcomes, Tools, pixels
from training import predict
from training.data.crop_store import CropStore
from training.data.crops import Crop, decode_crop
from training.data.lmdb import Subset
from training.errors import DataError
from training.predictor import LoadedNetwork


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
