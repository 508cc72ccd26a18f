"""Processes that take turns: no framework's threads meet another's, and what else the machine does meets all.

worker = Worker(make, *arguments)   # make(*arguments), there, gives the function that answers
answer = worker.ask(question)
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Answer = Callable[[Any], Any]


class Worker:
    """A spawned process that answers one question after another, until it is closed."""

    def __init__(self, make: Callable[..., Answer], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: object) -> Any:  # noqa: ANN401 - whatever `make` promises
        """EOFError if the process died; its reason stands above."""
        try:
            self._ours.send(question)
            return self._ours.recv()
        except ConnectionError as exc:
            raise EOFError from exc

    def close(self) -> None:
        self._ours.close()
        self._process.join()


def _serve(connection: Connection, make: Callable[..., Answer], arguments: tuple[Any, ...]) -> None:
    answer = make(*arguments)
    with suppress(EOFError):  # closed: no more questions
        while True:
            connection.send(answer(connection.recv()))
