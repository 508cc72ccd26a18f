"""Pictures of every kind that the client takes: each gives its file's result, or is refused with advice."""

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageSequence, PngImagePlugin
from text_telescope import AsyncTelescopeClient, BadImage, TelescopeClient

from model_store.pixels import Rgb
from tests.app.conftest import Server, picture, png
from tests.client.test_client import are_results_of


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TelescopeClient]:
    with TelescopeClient(server.url) as one:
        yield one


def colours() -> Image.Image:
    """60 x 24, another colour in every corner."""
    rows, columns = np.mgrid[0:24, 0:60]
    return Image.fromarray(np.stack([4 * columns, 10 * rows, 255 - 4 * columns], axis=2).astype(np.uint8))


def veiled() -> Image.Image:
    image = colours()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def lab() -> Image.Image:
    srgb, to = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    done = ImageCms.applyTransform(colours(), ImageCms.buildTransform(srgb, to, "RGB", "LAB"))
    assert done
    return done


def levels_16(order: str = "<") -> Image.Image:
    return Image.fromarray((np.mgrid[0:24, 0:60][1] * 1000).astype(f"{order}u2"))


def profile() -> bytes:
    """sRGB with red and green exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * data[131], 12)}
    red, green = (slice(tags[name] + 4, tags[name] + 12) for name in (b"rXYZ", b"gXYZ"))
    data[red], data[green] = data[green], data[red]
    return bytes(data)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned(kind: str, orientation: int, image: Image.Image | None = None, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image or colours(), kind, exif=exif, **options)


def with_gamma() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", (100_000).to_bytes(4))
    return saved(colours(), "PNG", pnginfo=chunks)


FILES: dict[str, Callable[[], bytes]] = {
    "1": lambda: saved(colours().convert("1"), "PNG"),
    "L, a transparent level": lambda: saved(colours().convert("L"), "PNG", transparency=80),
    "LA": lambda: saved(veiled().convert("LA"), "PNG"),
    "P": lambda: saved(colours().quantize(16), "PNG"),
    "P, a transparent colour": lambda: saved(colours().quantize(16), "GIF", transparency=3),
    "P, alpha for each colour": lambda: saved(
        colours().quantize(16), "PNG", transparency=bytes(range(0, 256, 16))
    ),
    "PA": lambda: saved(veiled().convert("PA"), "TIFF"),
    "RGB, a transparent colour": lambda: saved(colours(), "PNG", transparency=(0, 0, 255)),
    "RGB, gamma": with_gamma,
    "RGB, ICC profile": lambda: saved(colours(), "JPEG", icc_profile=profile()),
    "P, ICC profile": lambda: saved(colours().quantize(16), "PNG", icc_profile=profile()),
    "RGBA": lambda: saved(veiled(), "WEBP", lossless=True),
    "I;16": lambda: saved(levels_16(), "PNG"),
    "I;16B": lambda: saved(levels_16(">"), "TIFF"),
    "CMYK": lambda: saved(colours().convert("CMYK"), "JPEG"),
    "LAB": lambda: saved(lab(), "TIFF"),
    "YCbCr": lambda: saved(colours().convert("YCbCr"), "TIFF"),
    "a phone's JPEG": lambda: turned("JPEG", 6),
    "a phone's MPO": lambda: turned("MPO", 8, save_all=True, append_images=[colours().resize((30, 12))]),
    "a turned PNG": lambda: turned("PNG", 5),
    "a turned TIFF": lambda: turned("TIFF", 6),
    "a turned WebP": lambda: turned("WEBP", 3, lossless=True),
    "a turned CMYK": lambda: turned("JPEG", 7, colours().convert("CMYK")),
    "orientation in XMP": lambda: saved(colours(), "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
    "damaged EXIF": lambda: saved(colours(), "JPEG", exif=b"Exif\0\0MM\0*garbage"),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged metadata and palettes with alpha
@pytest.mark.parametrize("name", FILES)
def test_a_pil_image_gives_the_result_of_its_file(client: TelescopeClient, name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES[name]())
    with Image.open(path) as lazy, Image.open(path) as loaded:
        loaded.load()
        before = loaded.tobytes(), dict(loaded.info)
        of_path, *of_images = client.super_resolve([path, lazy, loaded, loaded.copy()])
        assert (loaded.tobytes(), dict(loaded.info)) == before
    for of_image in of_images:
        np.testing.assert_array_equal(of_image, of_path)


@pytest.mark.parametrize("mode", ["HSV", "RGBX", "RGBa", "La", "I;16L", "I;16N"])
def test_modes_that_no_file_has_keep_their_pixels(client: TelescopeClient, mode: str) -> None:
    image = veiled() if mode == "RGBa" else veiled().convert("LA") if mode == "La" else colours()
    if mode.startswith("I;16"):
        image = levels_16()
        given = Image.frombytes(mode, image.size, image.tobytes())
    else:
        given = image.convert(mode)
    ours, expected = map(np.asarray, client.super_resolve([given, image]))
    assert np.abs(ours - expected.astype(int)).max() <= 6  # HSV and premultiplied alpha are rounded


def test_a_pil_image_that_its_caller_turned_upright_is_not_turned_again(client: TelescopeClient) -> None:
    from PIL import ImageOps

    data = turned("JPEG", 6)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(*client.super_resolve([data, upright]))


def test_a_jpeg_compressed_tiff_is_sent_without_another_loss(client: TelescopeClient) -> None:
    data = saved(colours().convert("CMYK"), "TIFF", compression="jpeg")
    np.testing.assert_array_equal(*client.super_resolve([data, Image.open(io.BytesIO(data))]))


def frames(kind: str, second: Image.Image | None = None) -> io.BytesIO:
    options = {"duration": 50} if kind != "TIFF" else {}
    other = second or colours().rotate(180)
    return io.BytesIO(saved(colours(), kind, save_all=True, append_images=[other], **options))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused_and_each_is_accepted_on_its_own(client: TelescopeClient, kind: str) -> None:
    animated = Image.open(frames(kind))
    with pytest.raises(TypeError, match=r"several frames; seek to one and give image\.copy\(\)"):
        client.super_resolve([animated])
    animated.seek(1)
    with pytest.raises(TypeError, match="several frames"):
        client.super_resolve(animated)
    assert animated.tell() == 1
    copies = (frame.copy() for frame in ImageSequence.Iterator(animated))
    first, second = map(np.asarray, client.super_resolve(copies))
    assert first.shape == second.shape == (48, 120, 3)
    assert np.abs(first[::-1, ::-1] - second.astype(int)).mean() < 4  # GIF rounds colours, WebP loses some


def test_the_preview_of_a_tiff_is_no_second_frame(client: TelescopeClient) -> None:
    preview = colours().resize((30, 12))
    preview.encoderinfo = {"tiffinfo": {254: 1}}  # NewSubfileType: a reduced version
    image = Image.open(frames("TIFF", preview))
    assert getattr(image, "n_frames") == 2  # noqa: B009
    lazily, loaded = client.super_resolve(image), client.super_resolve(image)
    np.testing.assert_array_equal(lazily, loaded)
    assert lazily.size == (120, 48)
    image.seek(1)
    with pytest.raises(TypeError, match="several frames"):  # the picture is the other one
        client.super_resolve(image)


@pytest.mark.parametrize(
    ("image", "right_call"),
    [
        (Image.new("I", (64, 16), 40_000), r"mode I .*level / 256\)\.convert\(\"L\"\)"),
        (Image.new("F", (64, 16), 0.5), r"mode F .*level \* 255\)\.convert\(\"L\"\)"),
    ],
)
def test_levels_of_32_bits_are_refused_with_the_call_that_makes_8(
    client: TelescopeClient, image: Image.Image, right_call: str
) -> None:
    with pytest.raises(TypeError, match=right_call):
        client.super_resolve(image)
    factor = 1 / 256 if image.mode == "I" else 255
    grey = image.point(lambda level: level * factor).convert("L")
    assert 100 < np.mean(np.asarray(client.super_resolve(grey))) < 180


def test_a_12_bit_tiff_names_its_path_as_the_right_call(client: TelescopeClient, tmp_path: Path) -> None:
    inverted = saved(levels_16(), "TIFF", tiffinfo={262: 0})  # WhiteIsZero
    with pytest.raises(TypeError, match="white is not 65535; give the TIFF's path"):
        client.super_resolve(Image.open(io.BytesIO(inverted)))
    assert client.super_resolve(inverted).pil().size == (120, 48)


def test_a_transparency_of_a_wrong_type_is_named(client: TelescopeClient) -> None:
    image = colours()
    image.info["transparency"] = 3
    with pytest.raises(TypeError, match=r"correct or delete image\.info\['transparency'\]"):
        client.super_resolve(image)


def test_a_closed_or_truncated_pil_image_fails_alone(client: TelescopeClient, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png())
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    truncated = Image.open(io.BytesIO(saved(Image.fromarray(noise), "PNG")[:9000]))
    closed, left = Image.open(path), Image.open(path)
    closed.load()
    closed.close()
    with left:
        pass
    with Image.open(path) as read:
        read.load()
    good, *bad = client.super_resolve([read, truncated, closed, left], errors="return")
    assert are_results_of([good], [picture()])
    assert [one.problem.code for one in bad if isinstance(one, BadImage)] == ["unreadable_file"] * 3
    assert "truncated" in str(bad[0])
    assert "closed" in str(bad[1])


def test_a_file_object_is_one_picture_and_keeps_its_position(client: TelescopeClient, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(png())
    memory, behind = io.BytesIO(png()), io.BytesIO(b"header" + png())
    behind.seek(6)
    with path.open("rb") as opened, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(png())
        spooled.seek(0)
        given = [memory, opened, spooled, behind, memory, bytearray(png()), memoryview(png())]
        assert are_results_of(client.super_resolve(given), [picture()] * 7)
        assert are_results_of([client.super_resolve(opened)], [picture()])
        assert (memory.tell(), opened.tell(), behind.tell()) == (0, 0, 6)
        assert client.super_resolve([spooled], errors="keep")[0] is not spooled


def test_a_stream_without_positions_is_read(client: TelescopeClient) -> None:
    reading, writing = os.pipe()
    os.write(writing, png())
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        assert are_results_of([client.super_resolve(stream)], [picture()])


def test_a_file_object_without_bytes_fails_alone_and_text_is_refused(
    client: TelescopeClient, tmp_path: Path
) -> None:
    written = io.BytesIO()
    written.write(png())
    closed = io.BytesIO(png())
    closed.close()
    end, shut, good = client.super_resolve([written, closed, png()], errors="return")
    assert isinstance(end, BadImage)
    assert "at its end; call seek(0)" in str(end)
    assert isinstance(shut, BadImage)
    assert shut.problem.code == "unreadable_file"
    assert are_results_of([good], [picture()])
    (tmp_path / "one.png").write_bytes(png())
    with (tmp_path / "one.png").open() as text, pytest.raises(TypeError, match=r"open\(path, 'rb'\)"):
        client.super_resolve(text)
    with pytest.raises(TypeError, match=r"gives str and not bytes"):
        client.super_resolve(io.StringIO("text"))


@pytest.mark.parametrize(
    ("array", "right_call"),
    [
        (np.zeros((2, 16, 64, 3), np.uint8), r"list\(array\)"),
        (np.array([picture(), picture(height=9)], dtype=object), r"list\(array\)"),
        (np.zeros((3, 16, 64), np.uint8), r"numpy\.moveaxis\(array, 0, -1\)"),
        (np.frombuffer(png(), np.uint8), r"array\.tobytes\(\)"),
        (np.zeros((16, 64), bool), r"\(255 \* array\)\.astype"),
        (np.zeros((16, 64, 3), np.float32), r"\(255 \* array\)\.astype"),
        (np.zeros((16, 64), np.uint16), r"\(array // 257\)\.astype"),
        (np.zeros((16, 64, 2), np.uint8), r"array\[:, :, 0\] for grey"),
    ],
)
def test_an_array_that_is_no_picture_is_refused_with_the_right_call(
    client: TelescopeClient, array: Any, right_call: str
) -> None:
    with pytest.raises(TypeError, match=right_call):
        client.super_resolve(array)


def test_arrays_with_one_or_four_channels_are_grey_and_alpha(server: Server) -> None:
    rgba = np.asarray(veiled())
    grey = np.asarray(colours().convert("L"))
    with TelescopeClient(server.url) as rgb, TelescopeClient(server.url, channels="bgr") as bgr:
        expected = rgb.super_resolve(saved(veiled(), "PNG"))
        np.testing.assert_array_equal(rgb.super_resolve(rgba), expected)
        np.testing.assert_array_equal(bgr.super_resolve(rgba[:, :, [2, 1, 0, 3]]), expected.array("bgr"))
        np.testing.assert_array_equal(*bgr.super_resolve([grey, grey[:, :, None]]))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://example.org/one.png", "URLs are not fetched: 'https://example.org/one.png'"),
        ("data:image/png;base64,iVBORw0KGgo", "URLs are not fetched"),
        ("~/no such folder/one.png", "a home folder's ~ needs os.path.expanduser(path)"),
        ("iVBORw0KGgo" * 1000, "A str of 11000 characters is no path"),
        ("iVBORw0KGgo" * 100, "File name too long"),
        ("a\0b", "null byte"),
        (Path("/dev/zero"), "no regular file"),
        (Path("/"), "directory"),
        ("nowhere.png", "No such file"),
        ("C://nowhere/crop.png", "No such file"),
    ],
)
def test_a_str_or_path_that_is_no_file_fails_alone(client: TelescopeClient, given: str | Path, words: str) -> None:
    bad, good = client.super_resolve([given, png()], errors="return")
    assert isinstance(bad, BadImage)
    assert bad.problem.code == "unreadable_file"
    assert words in str(bad)
    assert len(str(bad)) < 1500
    assert are_results_of([good], [picture()])


def test_a_missing_pillow_is_told_with_the_extra_that_installs_it(
    client: TelescopeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.super_resolve(png())
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "text_telescope.lossless", raising=False)
    with pytest.raises(ImportError, match=r'PIL.*; run: pip install "text-telescope-client\[pillow\]"'):
        answer.pil()
    with pytest.raises(ImportError, match=r'PIL.*; run: pip install "text-telescope-client\[numpy\]"'):
        client.super_resolve(picture(), errors="keep")


def test_any_iterable_of_pictures_is_a_sequence(server: Server, client: TelescopeClient) -> None:
    crops = [picture((9, 9, 9)), picture((90, 9, 9))]
    assert are_results_of(client.super_resolve(crop for crop in crops), crops)
    assert are_results_of(client.super_resolve(tuple(crops), errors="keep"), crops)
    assert len(client.answers(io.BytesIO(png()))) == len(client.answers(picture())) == 1
    wrong: tuple[Any, ...] = (None, 7, {"crop": picture()})
    for none in wrong:
        with pytest.raises(TypeError, match="is no picture; give an array, a PIL image"):
            client.super_resolve(none)

    async def ask() -> list[Rgb]:
        async with AsyncTelescopeClient(server.url) as waiting:
            assert len(await waiting.answers(io.BytesIO(png()))) == 1
            return await waiting.super_resolve(crop for crop in crops)

    assert are_results_of(asyncio.run(ask()), crops)
