"""`predict` writes what infer_sr writes, clipped and rounded."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for needed in ("onnx", "onnxruntime"):
    pytest.importorskip(needed)
import onnx  # noqa: E402
from onnx import helper  # noqa: E402

from model_store.pixels import resize  # noqa: E402
from tests.training.enlarger import write_enlarger  # noqa: E402
from training import __main__ as command_line  # noqa: E402


def crop(path: Path, *, height: int = 24, width: int = 90, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def run(*arguments: object) -> int:
    return command_line.main(["predict", *map(str, arguments)])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_enlarger(tmp_path / "enlarger.onnx")


def test_sr_of_each_picture_is_written_under_its_name(tmp_path: Path, network: Path) -> None:
    (tmp_path / "more").mkdir()
    pictures = {"one.png": crop(tmp_path / "one.png"), "two.png": crop(tmp_path / "more" / "two.png", seed=1)}
    crop(tmp_path / "more" / "three.jpg", seed=2)
    images = (tmp_path / "one.png", tmp_path / "more")
    assert run("--weights", network, "--image", *images, "--out", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["sr_one.png", "sr_three.jpg", "sr_two.png"]
    for name, pixels in pictures.items():
        expected = resize(pixels, height=16, width=64).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(read(tmp_path / "out" / f"sr_{name}"), expected)


def test_values_beyond_the_range_do_not_wrap_round(tmp_path: Path) -> None:
    """infer_sr casts a slightly negative value to 255: white specks in dark strokes."""
    model = onnx.load(write_enlarger(tmp_path / "plain.onnx"))
    model.graph.node[0].output[0] = "large"
    shift = onnx.numpy_helper.from_array(np.array(-0.1, np.float32), "shift")
    model.graph.initializer.append(shift)
    model.graph.node.append(helper.make_node("Add", ["large", "shift"], ["sr"]))
    onnx.save(model, tmp_path / "darker.onnx")
    Image.fromarray(np.full((16, 64, 3), 9, np.uint8)).save(tmp_path / "dark.png")
    run("--weights", tmp_path / "darker.onnx", "--image", tmp_path / "dark.png", "--out", tmp_path / "out")
    assert read(tmp_path / "out" / "sr_dark.png").max() == 0


def test_lr_and_bicubic_stand_beside_sr_on_request(tmp_path: Path, network: Path) -> None:
    pixels = crop(tmp_path / "one.png")
    images = ("--image", tmp_path / "one.png", "--out", tmp_path / "out")
    assert run("--weights", network, *images, "--compare") == 0
    lr = resize(pixels, height=16, width=64)
    np.testing.assert_array_equal(read(tmp_path / "out" / "lr_one.png"), lr)
    bicubic = read(tmp_path / "out" / "bicubic_one.png")
    np.testing.assert_array_equal(bicubic, resize(lr, height=32, width=128))


def test_one_bad_picture_spares_its_batch(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    crop(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = (tmp_path / "bad.png", tmp_path / "good.png")
    with caplog.at_level(logging.WARNING):
        assert run("--weights", network, "--image", *images, "--out", tmp_path / "out") == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["sr_good.png"]
    assert "1 of 2 pictures could not be read" in capsys.readouterr().err
    assert "bad.png cannot be read" in caplog.text


def test_a_mistake_is_one_sentence_and_code_2(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").mkdir()
    crop(tmp_path / "one.png")
    crop(tmp_path / "a" / "one.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    mistakes = {
        "nowhere.png does not exist": [tmp_path / "nowhere.png"],
        "empty holds no picture": [tmp_path / "empty"],
        "notes.txt must end in": [tmp_path / "notes.txt"],
        "would both be written as sr_one.png": [tmp_path / "one.png", tmp_path / "a"],
    }
    for message, images in mistakes.items():
        assert run("--weights", network, "--image", *images, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_every_format_is_read_and_the_other_files_are_counted(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, kind in {"a.TIF": "TIFF", "b.gif": "GIF", "c.jfif": "JPEG", "d.JPG": "JPEG"}.items():
        Image.new("RGB", (90, 24)).save(folder / name, kind)
    for name in ("._a.TIF", ".DS_Store", "notes.txt"):
        (folder / name).write_bytes(b"no picture")
    assert run("--weights", network, "--image", folder, "--out", tmp_path / "out") == 0
    results = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert results == ["sr_a.png", "sr_b.png", "sr_c.png", "sr_d.JPG"]
    assert "3 files left out: 1 .DS_Store, 1 .txt, 1 AppleDouble\n" in capsys.readouterr().out
