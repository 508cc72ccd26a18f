"""Worker processes for measuring in turns.

Separate processes keep the threads of one framework from disturbing another. Turns make other load on the machine
affect all measured sides equally.

worker = Worker(make, *arguments)   # calls make(*arguments) in a new process; the result is a function
result = worker.ask(argument)       # calls that function
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Measure = Callable[[Any], Any]


class Worker:
    """A spawned process that calls one function for each `ask`, until it is closed."""

    def __init__(self, make: Callable[..., Measure], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, argument: object) -> Any:  # noqa: ANN401 - as the function from `make` returns
        """Raises EOFError if the process died; its traceback is on stderr."""
        try:
            self._ours.send(argument)
            return self._ours.recv()
        except ConnectionError as exc:
            raise EOFError from exc

    def close(self) -> None:
        self._ours.close()
        self._process.join()


def _serve(connection: Connection, make: Callable[..., Measure], arguments: tuple[Any, ...]) -> None:
    measure = make(*arguments)
    with suppress(EOFError):  # closed by `close`
        while True:
            connection.send(measure(connection.recv()))
