"""JPEG and WebP: grey and colour, baseline and progressive, subsampled, restarts, previews, comments, alpha."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np

from tests.corpus.drawing import RGB, SMOOTH, TEXT, File, over, read, saved
from tests.corpus.writers import exif_segment, extended, riff, segment, with_segments

LEVELS = 4  # tolerance without subsampling; with it, twice that


def files() -> Iterator[File]:
    grey = SMOOTH[:, :, 1]
    plain = saved(SMOOTH, "JPEG", quality=95, subsampling=0)
    yield read("jpeg rgb", plain, SMOOTH, LEVELS)
    yield read("jpeg grey", saved(grey, "JPEG", quality=95), grey, LEVELS)
    yield read(
        "jpeg progressive", saved(SMOOTH, "JPEG", quality=95, subsampling=0, progressive=True), SMOOTH, LEVELS
    )
    for sampling in ("4:2:2", "4:2:0"):
        yield read(f"jpeg {sampling}", saved(SMOOTH, "JPEG", quality=95, subsampling=sampling), SMOOTH, 2 * LEVELS)
    bgr = np.ascontiguousarray(SMOOTH[:, :, ::-1])
    with_restarts = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    yield read("jpeg with restarts", with_restarts.tobytes(), SMOOTH, 2 * LEVELS)
    yield read("jpeg 9 x 11", saved(SMOOTH[:11, :9], "JPEG", quality=95, subsampling=0), SMOOTH[:11, :9], LEVELS)
    yield read("jpeg rgb stored as rgb", saved(SMOOTH, "JPEG", quality=95, keep_rgb=True), SMOOTH, LEVELS)
    segments = {
        "comment": segment(0xFE, b"comment"),
        "adobe photoshop": segment(0xED, b"Photoshop 3.0\0garbage"),
        "flashpix": segment(0xE2, b"FPXR\0garbage"),
        "cut off index of pictures": segment(0xE2, b"MPF\0II*\0"),
        "unknown segment": segment(0xE9, b"anything" * 100),
        "fill bytes": b"\xff" * 7 + segment(0xFE, b"comment"),
        "preview in its exif": exif_segment(_exif_with_preview()),
        "two comments of 64 KB": segment(0xFE, bytes(65_000)) * 2,
    }
    for name, found in segments.items():
        yield read(f"jpeg {name}", with_segments(plain, found), SMOOTH, LEVELS)
    yield read("jpeg before garbage", plain + b"garbage" * 50, SMOOTH, LEVELS)
    film = b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 200
    yield read("jpeg before a film", plain + film, SMOOTH, LEVELS)
    yield read("jpeg before another jpeg", plain + saved(grey, "JPEG"), SMOOTH, LEVELS)
    yield read("jpeg without Huffman tables, as in MJPEG", plain.replace(b"\xff\xc4", b"\xff\xe9"), SMOOTH, LEVELS)
    cut = read("jpeg without end mark", plain[:-2], SMOOTH, LEVELS)
    yield replace(
        cut, codes=("undecodable_image",)
    )  # Pillow cannot tell it from a picture whose last rows are lost
    yield from _webps()


def _exif_with_preview() -> bytes:
    """An EXIF block whose second directory is a small JPEG."""
    preview = saved(np.zeros((8, 8, 3), np.uint8), "JPEG")
    first = b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x01\0\0\0" + (26).to_bytes(4, "little")
    at = 26 + 2 + 2 * 12 + 4
    second = b"\x02\0" + b"\x01\x02\x04\0\x01\0\0\0" + at.to_bytes(4, "little")
    second += b"\x02\x02\x04\0\x01\0\0\0" + len(preview).to_bytes(4, "little") + bytes(4)
    return b"II*\0\x08\0\0\0" + first + second + preview


def _webps() -> Iterator[File]:
    lossless = saved(RGB, "WEBP", lossless=True)
    yield read("webp lossless", lossless, RGB)
    yield read("webp lossy", saved(SMOOTH, "WEBP", quality=100), SMOOTH, 8)
    alpha = np.where(TEXT, 255, 128).astype(np.uint8)
    rgba = np.dstack([RGB, alpha])
    expected = over(255, RGB, alpha)
    yield read("webp lossless alpha", saved(rgba, "WEBP", lossless=True, exact=True), expected, 1)
    smooth = np.dstack([SMOOTH, alpha])
    yield read("webp lossy alpha", saved(smooth, "WEBP", quality=100, exact=True), over(255, SMOOTH, alpha), 8)
    yield read("webp extended", extended(lossless, size=RGB.shape[:2], exif=b"Exif\0\0"), RGB)
    length = int.from_bytes(lossless[16:20], "little")
    stream = lossless[20 : 20 + length]
    yield read("webp with an unknown chunk", riff((b"VP8L", stream), (b"JUNK", b"anything")), RGB)
    yield read("webp before garbage", lossless + b"garbage" * 50, RGB)
