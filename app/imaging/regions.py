"""Regions of a page: boxes from a text detector -> upright crops, and super-resolved crops back onto the page.

    JSON -> parse -> locate -> Region -> rectify(page) -> crop ... result -> paste(page of twice the size)

A region may be written in three ways, also mixed in one request; corners run clockwise from the text's top left:

    [[x, y], [x, y], [x, y], [x, y]]    PaddleOCR `dt_polys`, RapidOCR `boxes`, EasyOCR `bbox`, docTR polygons
    [x_min, y_min, x_max, y_max]        a box
    [[x_min, y_min], [x_max, y_max]]    docTR's boxes
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from app.errors import BadRegion, InvalidParameter, TooManyRegions
from model_store.pixels import Rgb

Units = Literal["pixels", "relative"]
Corners = npt.NDArray[np.float64]  # (4, 2): x and y, clockwise from the text's top left
FEATHER_PX = 2  # pixels of the page over which a result fades in, so that no frame shows around it


@dataclass(frozen=True)
class Region:
    """A region on the page, in its pixels. height, width: of the upright crop."""

    corners: Corners
    height: int
    width: int

    @property
    def is_box(self) -> bool:
        """Whether the crop can be sliced out of the page without resampling."""
        (left, top), _, (right, bottom), _ = self.corners
        box = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return bool((self.corners == box).all() and (self.corners % 1 == 0).all())


def parse(text: str | bytes, *, max_regions: int) -> list[Corners]:
    """The regions of a request, not yet compared with its page.

    Raises InvalidParameter, which names the first malformed region, or TooManyRegions.
    """
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidParameter(f"regions is not JSON ({exc}).") from exc
    if not isinstance(listed, list) or not listed:
        raise InvalidParameter("regions must be a JSON list of one or more regions.")
    if len(listed) > max_regions:
        raise TooManyRegions(
            f"The request has {len(listed)} regions; at most {max_regions} are taken. Send several."
        )
    return [_corners(region, index) for index, region in enumerate(listed)]


def _corners(region: Any, index: int) -> Corners:  # noqa: ANN401  any JSON value
    try:
        points = np.array(region, np.float64)
    except (ValueError, TypeError, OverflowError):  # OverflowError: an integer beyond float64
        points = np.empty(0)
    if points.shape in ((4,), (2, 2)) and np.isfinite(points).all():
        left, top, right, bottom = points.reshape(-1)
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if points.shape == (4, 2) and np.isfinite(points).all():
        return points
    raise InvalidParameter(
        f"Region {index} is {json.dumps(region)[:80]}; it must be four corners [[x, y], ...] clockwise from the "
        "top left, [x_min, y_min, x_max, y_max] or [[x_min, y_min], [x_max, y_max]]."
    )


def locate(corners: Corners, *, page: tuple[int, int], units: Units, min_side_px: int) -> Region:
    """The region, clipped to a page of (height, width).

    Raises BadRegion if no part of it lies on the page, or it is not convex and clockwise, or is too small.
    """
    height, width = page
    if units == "relative":
        corners = corners * (width, height)
    on_page = corners.clip((0, 0), (width, height))
    if np.ptp(on_page, axis=0).min() <= 0 and np.ptp(corners, axis=0).min() > 0:
        raise BadRegion(f"The region lies outside the page of {width} x {height} pixels.")
    sides = np.roll(on_page, -1, axis=0) - on_page
    following = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] <= 0).any():
        raise BadRegion("The region's corners must run clockwise from the text's top left around an area.")
    across, down, back, up = np.hypot(*sides.T)
    region = Region(on_page, height=round(max(down, up)), width=round(max(across, back)))
    if min(region.height, region.width) < min_side_px:
        raise BadRegion(
            f"The region is {region.width} x {region.height} pixels; each side must be at least {min_side_px} to "
            "hold text."
        )
    return region


def rectify(page: Rgb, region: Region) -> Rgb:
    """The region's crop, upright: uint8 (region.height, region.width, 3)."""
    if region.is_box:
        left, top = region.corners[0].astype(int)
        return page[top : top + region.height, left : left + region.width]
    size = (region.width, region.height)
    crop = cv2.warpPerspective(
        page, _to_crop(region), size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def paste(page: Rgb, results: Sequence[tuple[Region, Rgb]], *, scale: int) -> None:
    """Blend each result (scale * height, scale * width, 3) into its region of the enlarged page, in order."""
    for region, result in results:
        left, top = np.floor(scale * region.corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(scale * region.corners.max(axis=0)).astype(int)
        enlarged = Region(scale * region.corners - (left, top), *result.shape[:2])
        size = (int(right - left), int(bottom - top))
        placed = _placed(result, enlarged, size)
        alpha = _placed(_fading(result.shape[:2], FEATHER_PX * scale), enlarged, size)[..., None]
        under = page[top:bottom, left:right]
        under[:] = np.rint(alpha * placed + (1 - alpha) * under).clip(0, 255).astype(np.uint8)


def _placed(picture: npt.NDArray[Any], region: Region, size: tuple[int, int]) -> npt.NDArray[Any]:
    if region.is_box:
        return picture
    return cv2.warpPerspective(picture, np.linalg.inv(_to_crop(region)), size, flags=cv2.INTER_LINEAR)


def _fading(shape: tuple[int, ...], feather: int) -> npt.NDArray[np.float32]:
    """Weights (H, W): 1 inside, falling towards every edge."""
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1 for n in shape)
    nearest: npt.NDArray[np.float32] = np.minimum(rows[:, None], columns).astype(np.float32)
    return (nearest / np.float32(feather + 1)).clip(max=1)


def _to_crop(region: Region) -> npt.NDArray[np.float64]:
    """Homography (3, 3) from page to crop; pixel centres lie at half-integer coordinates."""
    width, height = region.width, region.height
    crop = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    source, target = (region.corners - 0.5).astype(np.float32), (crop - 0.5).astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(source, target), np.float64)
