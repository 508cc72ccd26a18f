"""`python -m bench raw`: the count of operations, figures from seconds, the report and the worker processes."""

import os
from collections.abc import Callable

import numpy as np
import pytest

from bench.harness.turns import Worker

pytest.importorskip("openvino")

from bench.limit import CHAIN, CONV, GEMM, chain, operations
from bench.raw import REFERENCE, Speed, compared, speed


def test_operations_match_a_count_by_hand() -> None:
    import openvino as ov
    from openvino import opset13 as ops

    lr = ops.parameter((2, 3, 8, 16), np.float32)
    conv = ops.convolution(lr, ops.constant(np.zeros((5, 3, 3, 3), np.float32)), [1, 1], [1, 1], [1, 1], [1, 1])
    rows = ops.reshape(conv, ops.constant([2, 5, 128]), False)
    product = ops.matmul(rows, ops.constant(np.zeros((7, 128), np.float32)), False, True)
    turned = ops.matmul(rows, product, True, False)  # (2, 128, 5) (2, 5, 7)
    expected = {"conv": 2 * (2 * 5 * 8 * 16 * 27), "gemm": 2 * (2 * 5 * 7 * 128) + 2 * (2 * 128 * 7 * 5)}
    assert operations(ov.Model([turned], [lr], "by hand")) == expected


def test_a_chain_holds_only_products_of_its_kind() -> None:
    images, channels, height, width = CONV
    assert operations(chain("gemm")[0]) == {"gemm": CHAIN * 2 * GEMM**3, "conv": 0}
    products = CHAIN * 2 * images * channels * height * width * channels * 9
    assert operations(chain("conv")[0]) == {"gemm": 0, "conv": products}


def test_figures_are_medians_over_the_rounds() -> None:
    assert speed(8, [(2.0, 3.0), (1.0, 3.2), (4.0, 9.0)]) == Speed(4, 2, 8, 400)


def test_each_side_is_compared_at_equal_batch_sizes_and_at_its_best() -> None:
    def at(images: float) -> Speed:
        return Speed(images, images - 1, images + 1, 1000 / images)

    sides = {REFERENCE: {1: at(4), 8: at(5)}, "fast bf16": {1: at(40), 8: at(50)}, "slow": {1: at(8), 8: at(6)}}
    report = compared(sides)
    assert report.figures["over"]["fast bf16"] == {"batch-1": 10, "batch-8": 10, "best": 10}
    assert report.figures["over"]["slow"] == {"batch-1": 2, "batch-8": 1.2, "best": 1.6}
    assert ["slow", "8.0 (7.0-9.0; 125 ms), x2.0", "6.0 (5.0-7.0; 167 ms), x1.2", "x1.6"] in [
        *report.tables["throughput"].rows
    ]
    (axes,) = report.charts["throughput"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [*sides]
    assert [text.get_text().strip() for text in axes.texts] == ["5  (x1.0)", "50  (x10.0)", "8  (x1.6)"]


def adder(first: int) -> Callable[[int], tuple[int, int]]:
    return lambda second: (first + second, os.getpid())


@pytest.mark.slow
def test_each_worker_runs_in_a_separate_process() -> None:
    workers = [Worker(adder, first) for first in (10, 20)]
    try:
        sums, processes = zip(*(worker.ask(n) for n in (1, 2) for worker in workers), strict=True)
        assert sums == (11, 21, 12, 22)
        assert len({*processes, os.getpid()}) == 3
        with pytest.raises(EOFError):
            workers[0].ask("not a number")
    finally:
        for worker in workers:
            worker.close()
