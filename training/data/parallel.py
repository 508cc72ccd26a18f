"""Maps items over processes, with the results in order and a bounded number in progress.

    for pair in ordered_map(partial(CropBuilder, seed=7), crops, workers=2): ...

Each process makes its worker once, so that fonts and photographs are not sent with every item.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import cv2

from training.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16  # items per message: at 1 ms an item, messages then cost a few per cent
AHEAD = 4  # chunks in progress per process; more would only fill memory

_worker: Callable[[Any], Any] | None = None  # of this process


def ordered_map(
    make_worker: Callable[[], Callable[[Item], Result]], items: Iterable[Item], *, workers: int, chunk: int = CHUNK
) -> Generator[Result, None, None]:
    """`make_worker()(item)` for each item, in order. make_worker, items and results must pickle.

    workers: processes; 0 works in this one. An exception of a worker ends the iteration, and so does its death
    (DataError). The processes end when the iterator is closed or this process ends, even if killed. Items are
    drawn on demand.
    """
    if not workers:
        yield from map(make_worker(), items)
        return
    remaining = iter(items)
    under_way: deque[Future[list[Result]]] = deque()
    # Spawned and not forked: OpenCV's, LMDB's and the framework's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(make_worker,))
    try:
        while True:
            while len(under_way) < AHEAD * workers and (taken := list(islice(remaining, chunk))):
                under_way.append(pool.submit(_work, taken))
            if not under_way:
                return
            yield from under_way.popleft().result()
    except BrokenProcessPool as exc:
        raise DataError("a process that prepares data died; it may have run out of memory") from exc
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(make_worker: Callable[[], Callable[[Any], Any]]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process; the parent ends this one
    cv2.setNumThreads(1)  # threads would compete with the other processes for cores
    end_with_parent()
    _worker = make_worker()


def end_with_parent() -> None:
    """End this process when its parent ends: a killed parent cannot end it."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(items: list[Any]) -> list[Any]:
    assert _worker is not None, "_start has run"
    return [_worker(item) for item in items]
