"""ICC profiles byte by byte, and the sRGB of their colours by the formulas of ICC.1 and IEC 61966-2-1."""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.corpus.drawing import Rgb, rounded

Floats = npt.NDArray[np.float64]
D50 = np.array([0.9642, 1.0, 0.8249])
# Columns: XYZ of red, green and blue, adapted to D50 as profiles have them.
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
PROPHOTO = np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82510]])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])


def srgb_levels(linear: Floats) -> Rgb:
    """Linear sRGB in [0, 1], clipped -> 8 bits."""
    light = linear.clip(0, 1)
    return rounded(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def light(levels: Floats) -> Floats:
    """sRGB in [0, 1] -> linear."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def from_xyz(xyz: Floats) -> Rgb:
    """XYZ (..., 3) for D50 -> sRGB."""
    return srgb_levels(xyz @ np.linalg.inv(SRGB).T)


@dataclass(frozen=True)
class Matrix:
    """An RGB space of three primaries and one gamma; None: the curve of sRGB."""

    primaries: Floats
    gamma: float | None

    def srgb(self, rgb: npt.NDArray[np.integer], white: int = 255) -> Rgb:
        levels = rgb / white
        linear = light(levels) if self.gamma is None else levels**self.gamma
        return from_xyz(linear @ self.primaries.T)

    def profile(self) -> bytes:
        curve = _table(light(np.linspace(0, 1, 1024))) if self.gamma is None else _gamma(self.gamma)
        tags = {f"{channel}XYZ".encode(): _xyz(xyz) for channel, xyz in zip("rgb", self.primaries.T, strict=True)}
        tags |= {f"{channel}TRC".encode(): curve for channel in "rgb"}
        return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


ADOBE_RGB = Matrix(ADOBE, 563 / 256)
PROPHOTO_RGB = Matrix(PROPHOTO, 1.8)
DISPLAY_P3 = Matrix(P3, None)
SRGB_ITSELF = Matrix(SRGB, None)


def grey_profile(curve: Floats) -> bytes:
    """curve: light at even steps of the levels; two values are a straight line."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(1.0) if len(curve) == 2 else _table(curve)})


def grey_srgb(levels: npt.NDArray[np.integer], curve: Floats) -> npt.NDArray[np.uint8]:
    return srgb_levels(np.interp(levels / 255, np.linspace(0, 1, len(curve)), curve))


def dot_gain(gain: float) -> Floats:
    """Light of paper on which a dot of half the area grows by `gain`, in 256 steps from black to white."""
    ink = 1 - np.linspace(0, 1, 256)
    return 1 - (ink + 4 * gain * ink * (1 - ink))


_INKS = np.array([(0, 130, 200), (190, 20, 110), (250, 220, 20), (40, 38, 36)]) / 255  # sRGB of full cyan to black


def printed(inks: npt.NDArray[np.integer]) -> Rgb:
    """The sRGB of inks (..., 4), 0 to 255, that are laid over each other on white paper, each as a filter."""
    return rounded(255 * _filtered(inks / 255))


def _filtered(amounts: Floats) -> Floats:
    return np.asarray(np.prod(1 - amounts[..., None] * (1 - _INKS), axis=-2), np.float64)


def ink_profile(points: int = 11) -> bytes:
    """A printer's profile: a table of Lab over `points` amounts of each ink."""
    steps = np.linspace(0, 1, points)
    grid = np.stack(np.meshgrid(steps, steps, steps, steps, indexing="ij"), axis=-1)
    lab = lab_of(light(_filtered(grid)) @ SRGB.T)
    words = np.rint((lab + np.array([0, 128, 128])) * (65280 / 100, 256, 256)).clip(0, 65535).astype(">u2")
    straight = struct.pack(">2H", 0, 65535)
    unit = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    table = b"mft2" + bytes(4) + bytes([4, 3, points, 0]) + unit + struct.pack(">2H", 2, 2)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + 4 * straight + words.tobytes() + 3 * straight})


def lab_of(xyz: Floats) -> Floats:
    ratio = xyz / D50
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def lab_srgb(lab: Floats) -> Rgb:
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    return from_xyz(D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)))


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _described(b"corpus"), b"wtpt": _xyz(D50), **tags}
    tags[b"cprt"] = b"text" + bytes(4) + b"none\0"
    at = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(data), bytes(4), 0x02400000, kind, space, connection, bytes(12), b"acsp"
    )
    head += bytes(28) + _fixed(D50) + bytes(48)
    return head + table + data


def _fixed(values: Floats) -> bytes:
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def _xyz(xyz: Floats) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(xyz)


def _gamma(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * gamma))


def _table(curve: Floats) -> bytes:
    words = np.asarray(np.rint(65535 * curve.clip(0, 1)), ">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(words)) + words.tobytes()


def _described(text: bytes) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(8 + 2 + 1 + 67)
