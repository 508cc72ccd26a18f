"""Daemon threads that take work from one queue."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Run submitted work in order, on one thread until `grow` adds more.

    Not a ThreadPoolExecutor: the interpreter waits for an executor's threads when it ends, so a predictor that
    never returns would keep the process from stopping.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = 0
        self._threads: list[threading.Thread] = []
        self.grow(1)

    def grow(self, count: int) -> None:
        """Start threads until there are `count`."""
        for _ in range(self._count, count):
            thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._count = max(self._count, count)

    def shrink(self, count: int) -> None:
        """End threads until `count` are left, once the work submitted so far is taken."""
        for _ in range(count, self._count):
            self._work.put(None)
        self._count = min(self._count, count)

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Raises RuntimeError after `stop`, as no thread would do the work."""
        if not self._count:
            raise RuntimeError(f"the threads of {self._name} have ended")
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as exc:
                    future.set_exception(exc)

        self._work.put(run)
        return future

    def stop(self) -> None:
        """End every thread once the work submitted so far is done; does not wait."""
        self.shrink(0)

    def join(self, within_s: float) -> None:
        """Wait for each thread's end: a framework's state in a thread must not outlive the interpreter."""
        for thread in self._threads:
            thread.join(within_s)

    def _loop(self) -> None:
        while (run := self._work.get()) is not None:
            run()
