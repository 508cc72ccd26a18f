"""The Paddle form: a trained network folded for inference and saved as a static program."""

from __future__ import annotations

from pathlib import Path

import paddle

from model_store.manifest import PixelSpec
from training.fold import FoldedTBSRN
from training.tbsrn import TBSRN


def write_paddle(network: TBSRN, folder: Path, spec: PixelSpec, *, any_size: bool = False) -> FoldedTBSRN:
    """Write inference.json and inference.pdiparams; return the folded network.

    The input `lr` has a free batch size, and with `any_size` free height and width.
    """
    with paddle.utils.unique_name.guard():  # names count from 0, independent of earlier networks
        folded = FoldedTBSRN(network, any_size=any_size)
        size = [None, None] if any_size else [spec.height, spec.width]
        lr = paddle.static.InputSpec([None, 3, *size], "float32", "lr")
        static = paddle.jit.to_static(folded, input_spec=[lr], full_graph=True)
        paddle.jit.save(static, str(folder / "inference"))
    return folded
