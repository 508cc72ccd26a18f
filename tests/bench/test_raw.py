"""`python -m bench raw`: the count of operations, figures from seconds, the chart and the worker processes."""

import os
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.limit import CONV, GEMM, operations
from bench.raw import _figures, over_reference
from bench.raw_chart import chart
from bench.turns import Worker


def test_operations_match_a_count_by_hand() -> None:
    ov = pytest.importorskip("openvino")
    ops = pytest.importorskip("openvino.opset13")
    lr = ops.parameter((2, 3, 8, 16), np.float32)
    conv = ops.convolution(lr, ops.constant(np.zeros((5, 3, 3, 3), np.float32)), [1, 1], [1, 1], [1, 1], [1, 1])
    rows = ops.reshape(conv, ops.constant([2, 5, 128]), False)
    product = ops.matmul(rows, ops.constant(np.zeros((7, 128), np.float32)), False, True)
    turned = ops.matmul(rows, product, True, False)  # (2, 128, 5) (2, 5, 7)
    expected = {"conv": 2 * (2 * 5 * 8 * 16 * 27), "gemm": 2 * (2 * 5 * 7 * 128) + 2 * (2 * 128 * 7 * 5)}
    assert operations(ov.Model([turned], [lr], "by hand")) == expected


def test_a_chain_holds_only_products_of_its_kind() -> None:
    pytest.importorskip("openvino")
    from bench.limit import CHAIN, _chain

    images, channels, height, width = CONV
    assert operations(_chain("gemm")) == {"gemm": CHAIN * 2 * GEMM**3, "conv": 0}
    products = CHAIN * 2 * images * channels * height * width * channels * 9
    assert operations(_chain("conv")) == {"gemm": 0, "conv": products}


def test_figures_are_medians_over_the_rounds() -> None:
    found = _figures([(2.0, 3.0), (1.0, 3.2), (4.0, 9.0)], 8)
    assert found == {"images_per_s": 4.0, "low": 2.0, "high": 8.0, "cpu_ms_per_image": 400.0}


def sides() -> dict[str, dict[str, dict[str, float]]]:
    def at(speed: float) -> dict[str, float]:
        return {"images_per_s": speed, "low": speed - 1, "high": speed + 1, "cpu_ms_per_image": 1000 / speed}

    return {
        "reference": {"1": at(4), "8": at(5)},
        "tbsrn openvino bf16": {"1": at(40), "8": at(50)},
        "tbsrn paddle fp32": {"1": at(8), "8": at(6)},
    }


def test_each_side_is_compared_with_the_reference_at_its_best_batch_size() -> None:
    found = over_reference(sides())
    assert found["tbsrn openvino bf16"] == {
        "throughput": 10, "best": 8.5, "cpu_time": 10, "batch_of_1": 10, "batch_of_8": 10
    }  # fmt: skip
    assert found["tbsrn paddle fp32"] == {
        "throughput": 1.6,
        "best": 1.5,
        "cpu_time": 1.6,
        "batch_of_1": 2,
        "batch_of_8": 1.2,
    }


def test_the_chart_shows_every_side_with_its_ratio_to_the_reference() -> None:
    report = {"machine": "a & b", "rounds": 3, "sides": sides(), "over_reference": over_reference(sides())}
    words = [node.text or "" for node in ElementTree.fromstring(chart(report)).iter() if node.text]
    assert set(sides()) <= set(words)
    assert "50.0  (x10.0, batch 8)" in words
    assert "8.0  (x1.6, batch 1)" in words


def adder(first: int) -> Callable[[int], tuple[int, int]]:
    return lambda second: (first + second, os.getpid())


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
