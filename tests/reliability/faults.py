"""A runtime that fails on demand, and its faults."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from app.errors import OutOfMemory
from model_store.pixels import Nchw
from tests.app.fakes import FakeRuntime

Fault = Callable[[Nchw, Nchw], Nchw]  # (input, correct output) -> output instead
POISON = 250 / 255  # a pixel of this value triggers the fault


class FaultyRuntime(FakeRuntime):
    """Applies `fault`, if set, to every batch that contains POISON; sets `inside` at the start of a batch."""

    def __init__(self, *, batch_s: float = 0) -> None:
        super().__init__()
        self.fault: Fault | None = None
        self.out_of_memory_from = 10**9
        self.inside = threading.Event()
        self._batch_s = batch_s

    def run(self, lr_nchw: Nchw) -> Nchw:
        self.inside.set()
        time.sleep(self._batch_s)
        sr = super().run(lr_nchw)
        if len(lr_nchw) >= self.out_of_memory_from:
            raise OutOfMemory("not enough memory for this batch")
        if self.fault and np.isclose(lr_nchw, POISON, atol=1e-3).any():
            return self.fault(lr_nchw, sr)
        return sr


def raises(lr: Nchw, sr: Nchw) -> Nchw:
    raise RuntimeError("driver error")


def not_a_number(lr: Nchw, sr: Nchw) -> Nchw:
    return np.where(np.isclose(sr, POISON, atol=1e-3), np.nan, sr).astype(np.float32)


def too_few_rows(lr: Nchw, sr: Nchw) -> Nchw:
    return sr[:-1]


def too_many_rows(lr: Nchw, sr: Nchw) -> Nchw:
    return np.concatenate([sr[-1:], sr])


def wrong_shape(lr: Nchw, sr: Nchw) -> Nchw:
    return sr[:, :, ::2]


def nothing(lr: Nchw, sr: Nchw) -> Any:
    return None


FAULTS = (raises, not_a_number, too_few_rows, too_many_rows, wrong_shape, nothing)
