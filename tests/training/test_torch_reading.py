"""Published recognisers in the loss: what they ask for, how strongly, where, and what of them a run keeps."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("rapidocr")
pytest.importorskip("rapidocr_onnxruntime")
import onnx  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402

from tests.training.drawn import word  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.config_file import build_config  # noqa: E402
from training.data.fonts import find_fonts  # noqa: E402
from training.data.framing import place  # noqa: E402
from training.data.samples import Batch, ReadingTargets, code_points  # noqa: E402
from training.data.synth import SynthConfig, render_word  # noqa: E402
from training.engines import torch_reading  # noqa: E402
from training.engines.torch import telescope  # noqa: E402
from training.engines.torch_ctc import ctc, reads  # noqa: E402
from training.engines.torch_reader import TextFocusedLoss  # noqa: E402
from training.engines.torch_reading import LUMA, Reader, ReadingLoss, Words  # noqa: E402
from training.engines.torch_views import HEIGHT, WIDTH, gaussian, look_at, soften  # noqa: E402
from training.errors import ConfigError, MissingExtra  # noqa: E402
from training.text_focus import LossConfig  # noqa: E402

CANVAS = (64, 192)
V6, V4 = "rapidocr-v6", "rapidocr-v4"
MARKET, ZIPPER, HARBOUR = "market", "zipper", "Harbour"


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    """Small pictures: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def shown(text: str) -> tuple[Tensor, Tensor]:
    """float32 (3, 64, 192) in [0, 1], and its box (4,)."""
    crop = word(text)
    placed = place(crop, height=len(crop), canvas=CANVAS, rng=np.random.default_rng(len(text)))
    assert placed.whole
    return torch.from_numpy(placed.canvas).permute(2, 0, 1).float() / 255, torch.tensor(placed.box)


def pictures(*texts: str) -> Tensor:
    stacked: Tensor = torch.stack([shown(text)[0] for text in texts])
    return stacked


def blurred(hr: Tensor, times: int = 8) -> Tensor:
    return F.interpolate(F.avg_pool2d(hr, times), hr.shape[2:], mode="bilinear")


def about(*texts: str, told: Sequence[str] | None = None, latin: int | None = None, **changes: bool) -> Words:
    """What is known of `pictures(*texts)`. told: other labels than what is shown."""
    every, count = torch.ones(len(texts), dtype=torch.bool), len(texts)
    codes = torch.from_numpy(code_points(texts if told is None else told))
    boxes = torch.stack([shown(text)[1] for text in texts])
    words = Words(codes, every, boxes, every, count if latin is None else latin)
    return replace(words, **{name: torch.full((count,), value) for name, value in changes.items()})


@cache
def kept(config: LossConfig, every_script: bool) -> ReadingLoss:
    return ReadingLoss(config, every_script=every_script)


def reading(*readers: str, every_script: bool = False, **settings: Any) -> ReadingLoss:
    """As if fresh: the networks are read from their files once."""
    loss = kept(LossConfig(text_focus=False, readers=readers or (V6,), **settings), every_script)
    loss.limits.zero_()
    return loss


def pull(loss: ReadingLoss, sr: Tensor, hr: Tensor, words: Words, *, turn: int = 0) -> Tensor:
    at = sr.clone().requires_grad_()
    found: Tensor = torch.autograd.grad(loss(at, hr, words, turn=turn), at)[0]
    return found


def lengths(pulls: Tensor) -> Tensor:
    norms: Tensor = pulls.flatten(1).norm(dim=1)
    return norms


def test_the_weight_weighs() -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER)
    found = []
    for weight in (0.0, 0.002, 0.02):
        config = LossConfig(text_focus=False, readers=(V6,), reader_weight=weight)
        sr = blurred(hr).requires_grad_()
        parts = TextFocusedLoss(config, None, reading())(sr, hr, (), words=words)
        found.append(torch.autograd.grad(parts["loss"], sr)[0])
    mse, light, heavy = found
    assert (light - mse).norm() > 1e-4
    torch.testing.assert_close(heavy - mse, 10 * (light - mse), rtol=1e-3, atol=1e-7)


def test_a_picture_that_reads_as_hr_pulls_far_less_than_one_that_does_not() -> None:
    hr, words = pictures(MARKET, ZIPPER, HARBOUR), about(MARKET, ZIPPER, HARBOUR)
    sr = torch.cat([0.98 * hr[:1], blurred(hr[1:])])
    read, unread, other = lengths(pull(reading(), sr, hr, words)).tolist()
    assert 0 < 100 * read < min(unread, other)
    assert max(unread, other) <= (1 + 1e-5) / 3


def test_with_a_quantile_of_0_every_picture_pulls_with_the_same_force() -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER)
    sr = torch.cat([0.98 * hr[:1], blurred(hr[1:])])
    found = lengths(pull(reading(reader_quantile=0), sr, hr, words))
    torch.testing.assert_close(found, torch.full((2,), 0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("quantile", [0.0, 0.75, 1.0])
def test_no_pull_is_longer_than_its_share_of_the_batch(quantile: float) -> None:
    hr, words = pictures(MARKET, ZIPPER, HARBOUR), about(MARKET, ZIPPER, HARBOUR)
    loss = reading(reader_quantile=quantile)
    for times in (2, 16):  # a hard batch after an easy one meets the easy one's limit
        assert lengths(pull(loss, blurred(hr, times), hr, words)).max() <= (1 + 1e-5) / 3


@pytest.mark.slow
def test_the_limit_starts_at_the_first_batchs_quantile_and_follows_slowly() -> None:
    hr, words = pictures(MARKET, ZIPPER, HARBOUR), about(MARKET, ZIPPER, HARBOUR)
    loss = reading(reader_quantile=0.5)
    first, second = blurred(hr), blurred(hr, 4)

    def uncut(sr: Tensor) -> Tensor:
        at = sr.clone().requires_grad_()
        return lengths(torch.autograd.grad(loss._losses(0, at, hr, words).sum(), at)[0]).median()

    pull(loss, first, hr, words)
    assert loss.limits[0].item() == pytest.approx(uncut(first).item(), rel=1e-3)
    pull(loss, second, hr, words)
    expected = 0.98 * uncut(first) + 0.02 * uncut(second)
    assert loss.limits[0].item() == pytest.approx(expected.item(), rel=1e-3)
    assert uncut(first).item() != pytest.approx(uncut(second).item(), rel=0.05)


@pytest.mark.slow
def test_following_the_pull_makes_blurred_words_read_as_hr() -> None:
    hr, words = pictures(MARKET, ZIPPER, HARBOUR), about(MARKET, ZIPPER, HARBOUR)
    loss, sr = reading(), blurred(hr)
    before = loss(sr, hr, words, turn=0).item()
    for _ in range(6):
        sr = (sr - 2 * pull(loss, sr, hr, words)).clamp(0, 1)
    assert before > 0.2
    assert loss(sr, hr, words, turn=0).item() < 0.3 * before
    assert loss(hr, hr, words, turn=0).item() == pytest.approx(0, abs=1e-5)


def test_one_pictures_pull_has_nothing_of_the_others() -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER)
    sr, loss = blurred(hr), reading(reader_quantile=0)
    other = torch.cat([sr[:1], torch.rand_like(sr[1:])])
    one, two = (pull(loss, picture, hr, words) for picture in (sr, other))
    torch.testing.assert_close(one[0], two[0], rtol=1e-3, atol=1e-6)
    assert not torch.allclose(one[1], two[1], atol=1e-3)


@pytest.mark.parametrize("told", ["", "слово", "marктet", "m" * 25])
def test_a_picture_whose_text_is_not_known_is_left_alone(told: str) -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER, told=[told, ZIPPER])
    found = pull(reading(reader_quantile=0), blurred(hr), hr, words)
    assert not found[0].any()
    assert lengths(found)[1].item() == pytest.approx(0.5, rel=1e-4)


def test_the_pull_ends_where_the_softened_box_does() -> None:
    hr, words = pictures(MARKET), about(MARKET)
    (found,) = pull(reading(), blurred(hr), hr, words)
    left, top, right, bottom = words.boxes[0].int().tolist()
    reach = 4  # pixels: three of softening, one of looking between pixels
    inside = torch.zeros(CANVAS, dtype=torch.bool)
    inside[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = True
    assert found[:, ~inside].abs().max() == 0
    assert found[:, inside].abs().max() > 0


def finer_than(period_px: float, pulls: Tensor) -> float:
    """Share of energy in waves shorter than that."""
    height, width = pulls.shape[2:]
    waves = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])  # cycles a pixel
    energy = torch.fft.fft2(pulls).abs().square()
    return float(energy[..., waves > 1 / period_px].sum() / energy.sum())


@pytest.mark.parametrize("reader", [V6, V4])
def test_a_pull_asks_for_no_colour_and_for_little_that_is_finer_than_3_px_waves(reader: str) -> None:
    hr, words = pictures(MARKET, ZIPPER, HARBOUR), about(MARKET, ZIPPER, HARBOUR)
    careful = pull(reading(reader), blurred(hr), hr, words)
    plain = pull(reading(reader, reader_grey=False, reader_soften_px=0), blurred(hr), hr, words)

    def grey(pulls: Tensor) -> Tensor:
        """The part along the luma weights."""
        luma = torch.tensor(LUMA)
        along: Tensor = torch.einsum("nchw,c,d->ndhw", pulls, luma, luma) / luma.square().sum()
        return along

    torch.testing.assert_close(careful, grey(careful), rtol=1e-3, atol=1e-6)
    assert (plain - grey(plain)).norm() > 0.3 * plain.norm()
    assert finer_than(3, careful) < 0.08
    assert finer_than(3, plain) > 2 * finer_than(3, careful)


def first(loss: ReadingLoss) -> Reader:
    reader = loss.readers[0]
    assert isinstance(reader, Reader)
    return reader


def seen(loss: ReadingLoss, picture: Tensor, words: Words) -> Tensor:
    """What the first reader says of pictures that are grey and softened."""
    luma = (picture * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    views = look_at(soften(luma, gaussian(0.7)), words.boxes).expand(-1, 3, -1, -1)
    with torch.no_grad():
        said: Tensor = first(loss)(views)
    return said


def test_the_label_teaches_where_hr_is_misread() -> None:
    words, sr = about(ZIPPER, told=[MARKET]), blurred(pictures(MARKET))
    words = replace(words, boxes=about(MARKET).boxes)
    loss = reading()
    misread, garbage = pictures(ZIPPER), torch.rand(1, 3, *CANVAS, generator=torch.Generator().manual_seed(1))
    value = loss(sr, misread, words, turn=0)
    assert loss(sr, garbage, words, turn=0).item() == value.item()
    said = seen(loss, sr, words)
    reader = first(loss)
    ids, places = reader.classes(words.codes)[:, : len(MARKET)], torch.tensor([said.shape[1]])
    alone = F.ctc_loss(said.transpose(0, 1), ids, places, torch.tensor([len(MARKET)]), reduction="sum")
    expected = alone / said.shape[1]
    assert value.item() == pytest.approx(expected.item(), rel=1e-3)
    half = reading(reader_ctc=0.5)
    assert half(sr, misread, words, turn=0).item() == pytest.approx(0.5 * value.item(), rel=1e-5)


def test_hrs_reading_teaches_where_hr_is_read_right() -> None:
    words, hr = about(MARKET), pictures(MARKET)
    loss, sr = reading(), blurred(pictures(MARKET))
    assert loss(hr, hr, words, turn=0).item() == pytest.approx(0, abs=1e-6)
    says, shall = (seen(loss, picture, words).double() for picture in (sr, hr))
    expected = (shall.exp() * (shall - says)).sum(-1).mean()  # of places, the divergence
    assert loss(sr, hr, words, turn=0).item() == pytest.approx(expected.item(), rel=1e-3)
    assert loss(sr, hr, words, turn=0).item() == reading(reader_ctc=9.0)(sr, hr, words, turn=0).item()


def test_without_a_sharp_hr_the_label_alone_teaches() -> None:
    words, sr = about(MARKET, sharp=False), blurred(pictures(MARKET))
    loss = reading()
    value = loss(sr, pictures(MARKET), words, turn=0).item()
    assert value > 0.1
    assert loss(sr, pictures(ZIPPER), words, turn=0).item() == value


@pytest.mark.parametrize(
    ("told", "changes"), [("mar ket", {}), (ZIPPER, {"whole": False})], ids=["a space", "a piece"]
)
def test_a_label_that_may_differ_from_a_reading_does_not_teach(told: str, changes: dict[str, bool]) -> None:
    hr, loss = pictures(MARKET), reading()
    assert loss(hr, hr, about(MARKET, told=[told], **changes), turn=0).item() == pytest.approx(0, abs=1e-6)
    unsharp = about(MARKET, told=[told], **changes, sharp=False)
    assert loss(blurred(hr), hr, unsharp, turn=0).item() == 0
    assert loss(blurred(hr), hr, about(MARKET, told=[ZIPPER]), turn=0).item() > 0.5


def test_where_hr_is_not_sharp_sr_is_held_to_lr() -> None:
    loss = TextFocusedLoss(LossConfig(text_focus=False), None)
    sr, hr = torch.full((2, 3, 64, 192), 0.4), torch.full((2, 3, 64, 192), 0.9)
    lr = torch.full((2, 3, 32, 96), 0.5)
    words = replace(about(MARKET, ZIPPER), sharp=torch.tensor([True, False]))
    assert loss(sr, hr, (), lr=lr, words=words)["mse"].item() == pytest.approx((0.5**2 + 0.1**2) / 2, rel=1e-4)
    lens = soften(hr := torch.rand(1, 3, 64, 192), gaussian(1.4))
    seen = F.avg_pool2d(lens, 2)
    unsharp = about(MARKET, sharp=False)
    assert loss(hr, 1 - hr, (), lr=seen, words=unsharp)["mse"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_readers_take_turns_or_are_averaged() -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER)
    sr, turns = blurred(hr), reading(V6, V4)
    alone = [reading(name)(sr, hr, words, turn=0).item() for name in (V6, V4)]
    assert alone[0] != pytest.approx(alone[1], rel=0.01)
    first = turns(sr, hr, words, turn=4).item()
    assert turns.limits[0] > 0 == turns.limits[1]
    second = turns(sr, hr, words, turn=7).item()
    assert turns.limits[1] > 0
    assert [first, second] == pytest.approx(alone, rel=1e-5)
    together = reading(V6, V4, reader_turns=False)
    assert together(sr, hr, words, turn=1).item() == pytest.approx(sum(alone) / 2, rel=1e-5)
    mean = (pull(reading(V6), sr, hr, words) + pull(reading(V4), sr, hr, words)) / 2
    torch.testing.assert_close(
        pull(reading(V6, V4, reader_turns=False), sr, hr, words), mean, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", [V6, V4])
def test_a_reader_reads_words_and_its_file_is_as_good_as_its_name(name: str, tmp_path: Path) -> None:
    texts = [MARKET, ZIPPER, HARBOUR]
    views = look_at(pictures(*texts), about(*texts).boxes)
    by_name = Reader(name)
    assert [text.strip() for text in by_name.texts(views)] == texts
    path = torch_reading._weights(name)
    assert Reader(str(path)).name == name
    by_path = Reader(str(shutil.copy(path, tmp_path / "mine.onnx")))
    assert by_path.name == "mine"
    assert torch.equal(by_path(views), by_name(views))


@pytest.mark.parametrize("name", [V6, V4])
def test_a_reader_is_shown_what_ppocr_shows_its_network(name: str) -> None:
    """Blue, green, red in [-1, 1]: in ONNX Runtime that gives the same probabilities of every character."""
    runtime = pytest.importorskip("onnxruntime")
    views = look_at(pictures(MARKET, ZIPPER), about(MARKET, ZIPPER).boxes)
    session = runtime.InferenceSession(str(torch_reading._weights(name)), providers=["CPUExecutionProvider"])
    bgr = views.numpy()[:, ::-1].copy()
    (expected,) = session.run(None, {session.get_inputs()[0].name: 2 * bgr - 1})
    np.testing.assert_allclose(
        Reader(name, every_script=True)(views, every_script=True).exp(), expected, atol=1e-4
    )


def test_what_is_no_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"loss\.readers .*absent\.onnx is no file, and none of rapidocr-v4, rapidocr-v6"
    ):
        Reader(str(tmp_path / "absent.onnx"))
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Softmax", ["x"], ["y"])], "g", [value], [value])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "nameless.onnx"))
    with pytest.raises(ConfigError, match=r"nameless\.onnx names no characters"):
        Reader(str(tmp_path / "nameless.onnx"))
    monkeypatch.setitem(torch_reading.WEIGHTS, V6, ("no_such_package", "x.onnx"))
    with pytest.raises(MissingExtra, match="needs the package no_such_package"):
        Reader(V6)


def drawn_chinese(text: str) -> tuple[Tensor, Tensor]:
    """A picture as of `shown`, with any installed font that has the characters."""
    fonts = [font for font in find_fonts() if font.has(text)]
    if not fonts:
        pytest.skip(f"no font here has {text}")
    plain = SynthConfig(screen_share=1.0)
    crop = render_word(text, config=plain, fonts=fonts[:1], seed=3)
    placed = place(crop, height=40, canvas=CANVAS, rng=np.random.default_rng(1))
    return torch.from_numpy(placed.canvas).permute(2, 0, 1)[None].float() / 255, torch.tensor([placed.box])


@pytest.mark.slow
def test_other_scripts_are_read_and_taught_behind_the_latin_rows() -> None:
    chinese, box = drawn_chinese("北京")
    loss = reading(every_script=True)
    assert first(loss).texts(look_at(chinese, box)) == ["北京"]
    hr = torch.cat([pictures(MARKET), chinese, chinese])
    words = about(MARKET, MARKET, MARKET, told=[MARKET, "北京", "слово"], latin=1)
    words = replace(words, boxes=torch.cat([words.boxes[:1], box, box]))
    assert loss(hr, hr, words, turn=0).item() == pytest.approx(0, abs=1e-5)
    found = lengths(pull(reading(every_script=True, reader_quantile=0), blurred(hr), hr, words)).tolist()
    assert found == pytest.approx([1 / 3, 1 / 3, 0], rel=1e-4)
    told = replace(
        words, codes=torch.from_numpy(code_points([MARKET, "東京", ""]))
    )  # the label, for it is misread
    assert loss(hr, hr, told, turn=0).item() > 0.3


def test_latin_rows_are_read_alike_with_and_without_the_other_characters() -> None:
    hr, words = pictures(MARKET, ZIPPER), about(MARKET, ZIPPER)
    alone, beside = (reading(every_script=every)(blurred(hr), hr, words, turn=0).item() for every in (False, True))
    assert alone == pytest.approx(beside, rel=1e-5)


@pytest.mark.parametrize("box", [(0, 0, 120, 40), (10, 7, 60, 27), (30, 2, 95, 62), (3, 5, 123, 25)])
def test_a_view_is_the_box_resized_as_ppocr_resizes_crops(box: tuple[int, int, int, int]) -> None:
    """With its edges continued, as `place` leaves them; the last box is too wide and is squeezed."""
    left, top, right, bottom = box
    crop = np.random.default_rng(3).integers(0, 256, (bottom - top, right - left, 3), np.uint8)
    canvas = np.pad(crop, ((top, 64 - bottom), (left, 192 - right), (0, 0)), mode="edge")
    picture = torch.from_numpy(canvas).permute(2, 0, 1)[None].float() / 255
    view = look_at(picture, torch.tensor([box]))[0].permute(1, 2, 0).numpy()
    assert view.shape == (HEIGHT, WIDTH, 3)
    width = min(WIDTH, round((right - left) * HEIGHT / (bottom - top)))
    expected = cv2.resize(crop, (width, HEIGHT), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    assert np.abs(view[:, :width] - expected).max() <= 2 / 255
    assert (view[:, width:] == 0.5).all()


def test_softening_keeps_sums_and_0_px_changes_nothing() -> None:
    picture = torch.rand(1, 2, 9, 11)
    assert torch.equal(soften(picture, gaussian(0)), picture)
    assert torch.allclose(soften(torch.ones(1, 2, 9, 11), gaussian(0.7)), torch.ones(1, 2, 9, 11))
    point = F.pad(torch.ones(1, 1, 1, 1), (8,) * 4)
    soft = soften(point, gaussian(0.7))[0, 0]
    assert soft.sum().item() == pytest.approx(1, rel=1e-5)
    assert soft[8, 8] / soft[8, 9] == pytest.approx(np.exp(1 / (2 * 0.49)), rel=1e-4)


def logits(seed: int, shape: tuple[int, ...]) -> Tensor:
    drawn: Tensor = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn


@pytest.mark.parametrize("seed", range(3))
def test_ctc_is_pytorchs_own(seed: int) -> None:
    """Words that repeat letters, fill all places, or do not fit: by a letter, or by a blank between equal ones."""
    words = [
        [1, 2, 3],
        [2, 2, 2, 1],
        [5],
        [1, 2, 3, 4, 5, 1, 2, 3],
        [1, 2, 3, 4, 5, 1, 2, 3, 4],
        [4, 4, 1, 2, 3, 5, 1, 2],
    ]
    fits = torch.tensor([True, True, True, True, False, False])
    ids = torch.zeros(len(words), 12, dtype=torch.int64)
    for row, letters in zip(ids, words, strict=True):
        row[: len(letters)] = torch.tensor(letters)
    at, again = (logits(seed, (len(words), 8, 6)).requires_grad_() for _ in range(2))
    ours = ctc(F.log_softmax(at, -1), ids)
    sizes = [len(letters) for letters in words]
    theirs = F.ctc_loss(
        F.log_softmax(again, -1).transpose(0, 1),
        ids,
        torch.full((len(words),), 8),
        torch.tensor(sizes),
        reduction="none",
        zero_infinity=True,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours > 0, fits)
    weights = torch.arange(1.0, len(words) + 1)
    gradients = (torch.autograd.grad((found * weights).sum(), x)[0] for found, x in ((ours, at), (theirs, again)))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_ctc_of_no_word_is_0_and_pulls_nowhere() -> None:
    at = logits(1, (2, 8, 6)).requires_grad_()
    ids = torch.tensor([[0, 0, 0], [1, 2, 0]])
    found = ctc(F.log_softmax(at, -1), ids)
    assert found[0] == 0 < found[1]
    (gradient,) = torch.autograd.grad(found.sum(), at)
    assert not gradient[0].any()
    assert gradient[1].any()


def greedy(log_probabilities: Tensor) -> list[int]:
    read, before = [], 0
    for best in log_probabilities.argmax(-1).tolist():
        if best and best != before:
            read.append(best)
        before = best
    return read


@pytest.mark.parametrize("room", [5, 9, 30])
def test_reads_is_what_a_greedy_decoder_says(room: int) -> None:
    """room: of a word in its row; 9 is the number of places."""
    said = logits(room, (300, 9, 4))
    words = [greedy(row) for row in said]
    ids, expected = torch.zeros(300, room, dtype=torch.int64), []
    for number, (row, letters) in enumerate(zip(ids, words, strict=True)):
        told = [letters, letters[:-1], [*letters, 1], [*letters[1:], 2]][number % 4][:room]
        row[: len(told)] = torch.tensor(told, dtype=torch.int64)
        expected.append(told == letters)
    assert reads(said, ids).tolist() == expected
    assert 0 < sum(expected) < 300


def settings(**top: object) -> TrainConfig:
    sizes = {"height": 16, "width": 64, "blocks": 1, "hidden": 2, "stn": False, "attention": False}
    tree = {"out": "unused", "device": "cpu", "data": {"rendered": 1, "rendered_validation": 1}, "model": sizes,
            "loss": {"text_focus": False, "readers": [V6], "reader_weight": 0.5}, **top}  # fmt: skip
    return build_config(tree, TrainConfig, origin="test")


def batch(text: str = MARKET) -> Batch:
    lr = np.random.default_rng(0).random((1, 3, 32, 96), np.float32)
    hr, box = shown(text)
    targets = ReadingTargets((text,), box[None].numpy(), np.ones(1, bool), 1)
    return Batch((text,), lr, hr[None].numpy(), targets=targets)


def test_a_step_reports_the_reading_and_adds_it_by_its_weight() -> None:
    values = telescope(settings()).step(batch(), step=0, learning_rate=0.001)
    assert values["reading"] > 0
    assert values["loss"] == pytest.approx(values["mse"] + 0.5 * values["reading"], rel=1e-5)


def test_a_batch_of_which_nothing_is_told_is_taken_as_whole_words() -> None:
    words = Words.of(
        Batch(("a", ""), np.zeros((2, 3, 4, 8), np.float32), np.zeros((2, 3, 8, 16), np.float32)),
        torch.device("cpu"),
    )
    assert words.boxes.tolist() == [[0, 0, 16, 8]] * 2
    assert (words.whole.tolist(), words.sharp.tolist(), words.latin) == ([True, False], [True, True], 2)
    assert words.codes[:, :2].tolist() == [[ord("a"), 0], [0, 0]]


@pytest.mark.slow
def test_a_run_that_goes_on_has_the_limits_it_had() -> None:
    whole, first, second = (telescope(settings()) for _ in range(3))

    def step(engine: Any, number: int) -> float:
        return float(engine.step(batch(), step=number, learning_rate=0.01)["loss"])

    losses = [step(whole, number) for number in range(4)]
    for number in range(2):
        step(first, number)
    state = first.state()
    assert state["loss/limits"].shape == (1,)
    assert state["loss/limits"][0] > 0
    second.load_state(state, origin="first")
    assert np.array_equal(second.state()["loss/limits"], state["loss/limits"])
    assert [step(second, number) for number in (2, 3)] == losses[2:]
    two = telescope(settings(loss={"text_focus": False, "readers": [V6, V4]}))
    two.load_state(state, origin="first")  # other readers: limits of their own
    assert two.state()["loss/limits"].tolist() == [0, 0]


def test_the_paddle_engine_says_that_it_has_no_such_loss() -> None:
    pytest.importorskip("paddle")
    from training.engines import paddle as paddle_engine

    with pytest.raises(ConfigError, match=r"loss\.readers needs the torch engine"):
        paddle_engine.telescope(settings())
