"""Pictures of every accepted kind become the right RGB; damaged and hostile ones are refused."""

import contextlib
import struct
import tracemalloc
import zlib
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from app.errors import EmptyBody, TooManyPixels, UndecodableImage, UnsupportedFormat
from app.imaging.decode import decode, probe

RGB = np.random.default_rng(1).integers(0, 255, (20, 40, 3), np.uint8)
LIMITS = {"max_pixels": 10**6, "min_side_px": 1}


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_every_lossless_input_format_is_read_exactly(image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    assert (decode(saved(Image.fromarray(RGB), image_format, **options)) == RGB).all()


def test_a_gif_of_one_frame_is_read() -> None:
    grey = Image.fromarray(RGB[:, :, 0])
    assert (decode(saved(grey, "GIF")) == RGB[:, :, :1]).all()


def test_grey_is_repeated() -> None:
    assert (decode(saved(Image.fromarray(RGB[:, :, 0]), "PNG")) == RGB[:, :, :1]).all()


def test_black_and_white_is_spread_to_the_full_range() -> None:
    bits = Image.fromarray(RGB[:, :, 0] > 127)
    assert set(np.unique(decode(saved(bits, "PNG")))) == {0, 255}


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(suffix: str) -> None:
    levels = np.array([[0, 257, 32896, 65535]] * 4, np.uint16)
    data = cv2.imencode(suffix, levels)[1].tobytes()
    assert decode(data)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_twelve_bits_of_grey_reach_white() -> None:
    levels = np.array([[0, 2048, 4095, 1024]] * 4, np.uint16)
    packed = b"".join(bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in levels.reshape(-1, 2).tolist())
    data = tiff(levels.shape, packed, bits=12)
    assert decode(data)[0, :, 0].tolist() == [0, 128, 255, 64]


def test_grey_that_counts_from_white_down_is_inverted() -> None:
    levels = np.array([[0, 257, 32896, 65535]] * 4, "<u2")
    data = tiff(levels.shape, levels.tobytes(), bits=16, white_is_zero=True)
    assert decode(data)[0, :, 0].tolist() == [255, 254, 127, 0]


def tiff(shape: tuple[int, ...], pixels: bytes, *, bits: int, white_is_zero: bool = False) -> bytes:
    """A grey TIFF in one uncompressed strip, little-endian."""
    height, width = shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: int(not white_is_zero), 277: 1, 278: height}
    tags |= {273: 8 + 2 + 12 * 9 + 4, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels


def test_a_transparent_level_of_sixteen_bits_lies_on_white() -> None:
    image = Image.fromarray(np.array([[0, 1000, 32896, 65535]] * 4, np.uint16))
    decoded = decode(saved(image, "PNG", transparency=1000))
    assert decoded[0, :, 0].tolist() == [0, 255, 128, 255]


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = saved(Image.fromarray(RGB), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UndecodableImage, match="100 scans"):
        probe(b"".join((data[:-2], last_scan * 1000, data[-2:])), **LIMITS)


def test_scans_of_the_film_behind_a_photo_do_not_count() -> None:
    photo = saved(Image.fromarray(RGB), "JPEG")
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 1000
    assert (decode(photo + film) == decode(photo)).all()


def test_sixteen_bits_of_colour_are_scaled() -> None:
    levels = np.zeros((4, 4, 3), np.uint16)
    levels[:, :] = (0x1234, 0x80FF, 0xFFFF)  # cv2 writes BGR
    data = cv2.imencode(".png", levels)[1].tobytes()
    assert decode(data)[0, 0].tolist() == [0xFF, 0x80, 0x12]


def test_sixteen_bits_of_grey_and_alpha_are_read() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">HH", 0x8000, 0xFFFF) * 4 for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 4, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    assert (decode(data) == 128).all()


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((4, 8, 4), np.uint8)
    rgba[:, 4:, 3] = 128  # half-transparent black beside nothing at all
    decoded = decode(saved(Image.fromarray(rgba), "PNG"))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 7].tolist() == pytest.approx([127, 127, 127], abs=1)


def test_a_palette_with_a_transparent_colour_lies_on_white() -> None:
    image = Image.fromarray(RGB[:, :, 0] // 128).convert("P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    decoded = decode(saved(image, "PNG", transparency=0))
    assert {tuple(c) for c in decoded.reshape(-1, 3).tolist()} == {(255, 255, 255), (200, 100, 50)}


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_it_prints(image_format: str) -> None:
    red = Image.new("CMYK", (40, 20), (0, 255, 255, 0))
    assert decode(saved(red, image_format))[5, 5].tolist() == pytest.approx([255, 0, 0], abs=3)


# How the stored pixels of an upright picture lie for each EXIF orientation, by the EXIF specification.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](RGB))
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = saved(Image.fromarray(stored), image_format, exif=exif, **options)
    picture = probe(data, **LIMITS)
    assert (picture.height, picture.width) == RGB.shape[:2]
    assert (decode(data) == RGB).all()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:Description tiff:Orientation="6"/></x:xmpmeta>'


def oriented_by_xmp(image_format: str) -> bytes:
    image = Image.fromarray(RGB)
    if image_format == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return saved(image, image_format, pnginfo=info)
    if image_format == "TIFF":
        return saved(image, image_format, tiffinfo={700: XMP})
    return saved(image, image_format, xmp=XMP)


def png_with_exif_after_the_pixels() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(RGB), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


@pytest.mark.parametrize(
    "data",
    [*map(oriented_by_xmp, ["PNG", "JPEG", "TIFF", "WEBP"]), png_with_exif_after_the_pixels()],
    ids=["PNG", "JPEG", "TIFF", "WEBP", "late EXIF"],
)
def test_a_decoded_picture_has_the_probed_size(data: bytes) -> None:
    picture = probe(data, **LIMITS)
    assert picture.decode().shape == (picture.height, picture.width, 3)


def test_a_damaged_exif_block_does_not_spoil_the_picture() -> None:
    data = saved(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert (decode(data) == RGB).all()


def test_a_phones_jpeg_with_a_second_picture_gives_the_first() -> None:
    image = Image.fromarray(RGB)
    data = saved(image, "MPO", save_all=True, append_images=[image.resize((8, 4))])
    assert decode(data).shape == RGB.shape


@pytest.mark.parametrize(("mode", "reason"), [("I", "32 bits"), ("F", "from 200 to 200")])
def test_pixels_without_an_agreed_white_are_refused(mode: str, reason: str) -> None:
    data = saved(Image.new(mode, (8, 8), 200), "TIFF")
    with pytest.raises(UnsupportedFormat, match=reason):
        decode(data)


@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]), st.data())
def test_damage_anywhere_raises_only_errors_of_bad_input(
    junk: bytes, image_format: str, draw: st.DataObject
) -> None:
    data = saved(Image.fromarray(RGB), image_format)
    cut = draw.draw(st.integers(0, len(data)))
    damaged = data[:cut] + junk + data[cut + len(junk) :]
    with contextlib.suppress(EmptyBody, UndecodableImage, UnsupportedFormat, TooManyPixels):
        probe(damaged, **LIMITS).decode()


@pytest.mark.parametrize("filter_type", ["none", "sub", "up", "avg", "paeth"])
@pytest.mark.parametrize("rgb", [RGB, RGB[:1, :1], RGB[:, :, 0]], ids=["noise", "dot", "grey"])
def test_every_filter_of_png_is_read(rgb: np.ndarray, filter_type: str) -> None:
    flags = [cv2.IMWRITE_PNG_FILTER, getattr(cv2, f"IMWRITE_PNG_FILTER_{filter_type.upper()}")]
    data = cv2.imencode(".png", rgb[..., ::-1] if rgb.ndim == 3 else rgb, flags)[1].tobytes()
    assert (decode(data) == (rgb if rgb.ndim == 3 else rgb[:, :, None])).all()


def crafted(header: bytes, pixels: bytes) -> bytes:
    """A PNG of any content with correct checksums."""
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_damaged_pngs_write_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    header = struct.pack(">II5B", 6, 3, 8, 2, 0, 0, 0)
    rows = [bytes([filter_type]) + bytes(18) for filter_type in (1, 4, 2)]
    pixels = zlib.compress(b"".join(rows))
    files = [
        *(
            crafted(header[:i] + bytes([value]) + header[i + 1 :], pixels)
            for i in range(13)
            for value in range(256)
        ),
        *(
            crafted(header, pixels[:i] + bytes([b]) + pixels[i + 1 :])
            for i in range(len(pixels))
            for b in range(256)
        ),
        *(crafted(header, pixels[:i]) for i in range(len(pixels))),
        crafted(header, pixels + b"more"),
        crafted(header, zlib.compress(b"".join(rows) + b"more")),
        crafted(header, zlib.compress(b"".join(rows)[:-1])),
        crafted(header, zlib.compress(b"\5" + b"".join(rows)[1:])),
    ]
    wide = struct.pack(">II5B", 1000, 3, 8, 2, 0, 0, 0)
    far_back = zlib.compress((b"\1" + np.random.default_rng(3).bytes(3000)) * 3)  # repeated from 3001 bytes back
    files.append(crafted(wide, b"\x08\x1d" + far_back[2:]))  # in a window of 256, which is a lie
    whole = crafted(header, pixels)
    files += [whole[:i] + bytes([255 - whole[i]]) + whole[i + 1 :] for i in range(len(whole))]
    read = 0
    for data in files:
        try:
            probe(data, max_pixels=3000).decode()
        except (UndecodableImage, UnsupportedFormat, TooManyPixels):
            continue
        read += 1
    assert 0 < read < len(files)
    assert capfd.readouterr() == ("", "")


def test_a_probed_picture_holds_no_more_than_its_bytes() -> None:
    """A text chunk of a KiB inflates to a MiB, which may be a string of four bytes a character."""
    texts = PngImagePlugin.PngInfo()
    for number in range(8):
        texts.add_itxt(f"t{number}", "a" * 1_000_000, zip=True)
    data = saved(Image.fromarray(RGB), "PNG", pnginfo=texts)
    assert len(data) < 16_000
    tracemalloc.start()
    try:
        held = [probe(data) for _ in range(8)]
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert (held[0].decode() == RGB).all()


def test_a_gif_of_a_million_blocks_is_refused() -> None:
    """Pillow would take a second and 90 bytes of memory for each byte."""
    gif = saved(Image.fromarray(RGB[:, :, 0]), "GIF")
    at = 13 + 3 * 256  # behind the palette
    for blocks in (b"!\xfe" + b"\1a" * 1_000_000 + b"\0", b"!\xfe\0" * 1_000_000, bytes(1_000_000)):
        with pytest.raises(UndecodableImage, match="blocks"):
            probe(gif[:at] + blocks + gif[at:], **LIMITS)
        with pytest.raises(UndecodableImage, match="blocks"):
            probe(gif[:-1] + blocks, **LIMITS)


def test_a_jpeg_of_a_million_fill_bytes_is_refused() -> None:
    jpeg = saved(Image.fromarray(RGB), "JPEG")
    with pytest.raises(UndecodableImage, match="fill bytes"):
        probe(jpeg[:2] + b"\xff" * 1_000_000 + jpeg[2:], **LIMITS)


def test_a_tiff_of_a_small_picture_in_an_enormous_tile_is_refused() -> None:
    """libtiff would make room for the whole tile."""
    data = tiff((8, 8), bytes(64), bits=8)
    tags = struct.pack("<HHIIHHII", 322, 4, 1, 46_000, 323, 4, 1, 46_000)
    data = data[:4] + struct.pack("<IH", 8, 11) + data[10 : 10 + 12 * 9] + tags + data[10 + 12 * 9 :]
    with pytest.raises(UndecodableImage, match="tiles"):
        probe(data, **LIMITS)
