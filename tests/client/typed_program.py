"""A user's program, which `tests/client/test_types.py` checks with mypy: each result's kind is known."""

from io import BytesIO
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
from PIL import Image
from text_telescope import Answer, AsyncTelescopeClient, BadImage, Opinion, PageResult, TelescopeClient

Rgb = npt.NDArray[np.uint8]
BOXES = [[0, 0, 64, 16]]


def one(telescope: TelescopeClient, array: Rgb, image: Image.Image, path: Path) -> None:
    assert_type(telescope.super_resolve(array), Rgb)
    assert_type(telescope.super_resolve(image, recogniser="any", errors="keep"), Image.Image)
    for file in ("crop.png", path, b"PNG", BytesIO(), path.open("rb")):
        assert_type(telescope.super_resolve(file, mode="always"), Answer)
    assert_type(telescope.super_resolve("crop.png").pil(), Image.Image)
    assert_type(telescope.super_resolve("crop.png").array("bgr"), Rgb)


def several(telescope: TelescopeClient, array: Rgb, image: Image.Image, path: Path) -> None:
    assert_type(telescope.super_resolve([array, array], errors="keep"), list[Rgb])
    assert_type(telescope.super_resolve(iter([image])), list[Image.Image])
    assert_type(telescope.super_resolve([Image.open(path)]), list[Image.Image])
    assert_type(telescope.super_resolve(path.glob("*.png")), list[Answer])
    assert_type(telescope.super_resolve([array], errors="return"), list[Rgb | BadImage])
    assert_type(telescope.super_resolve(["crop.png"], errors="return"), list[Answer | BadImage])
    assert_type(telescope.super_resolve([path, array]), Any)
    assert_type(telescope.answers([path, array]), list[Answer | BadImage])


def pages(telescope: TelescopeClient, array: Rgb, image: Image.Image) -> None:
    assert_type(telescope.regions(array, BOXES), list[Rgb])
    assert_type(telescope.regions(image, BOXES, errors="return"), list[Image.Image | BadImage])
    assert_type(telescope.regions("page.png", BOXES), list[Answer])
    assert_type(telescope.recompose(array, None), Rgb)
    assert_type(telescope.recompose("page.png", None), Answer)
    assert_type(telescope.page(array, recompose=True).picture, Rgb | None)
    assert_type(telescope.page(image), PageResult[Image.Image])
    (line, *_) = telescope.page("page.png", pictures=True).lines
    assert_type((line.text, line.plain, line.picture), tuple[str, Opinion | None, Answer | None])


async def waiting(array: Rgb, image: Image.Image) -> None:
    async with AsyncTelescopeClient() as telescope:
        assert_type(await telescope.super_resolve(array), Rgb)
        assert_type(await telescope.super_resolve([image]), list[Image.Image])
        assert_type(await telescope.super_resolve("crop.png"), Answer)
        assert_type(await telescope.regions("page.png", BOXES), list[Answer])
        assert_type(await telescope.recompose(image, BOXES), Image.Image)
        assert_type(await telescope.page(b"PNG"), PageResult[Answer])


def mistakes(telescope: TelescopeClient) -> None:
    telescope.super_resolve(3)  # type: ignore[call-overload]
    telescope.super_resolve("crop.png", mode="sometimes")  # type: ignore[call-overload]
    telescope.super_resolve("crop.png", errors="ignore")  # type: ignore[call-overload]
    telescope.recompose(None, BOXES)  # type: ignore[call-overload]
    telescope.page("page.png", layout="column")  # type: ignore[call-overload]
