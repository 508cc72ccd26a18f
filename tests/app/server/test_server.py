"""The draining server's signal handler."""

import logging
import os
import signal
from typing import NoReturn

import pytest
from fastapi import FastAPI

from app.server.server import DrainingServer
from app.settings import Settings


def test_an_immediate_exit_does_not_flush_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may arrive in the middle of a log line, when stderr refuses to be flushed."""

    def refuse() -> NoReturn:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    def end(code: int) -> NoReturn:
        raise SystemExit(code)

    handler = logging.Handler()
    monkeypatch.setattr(handler, "flush", refuse)
    monkeypatch.setattr(os, "_exit", end)
    app = FastAPI()
    app.state.settings = Settings()
    with pytest.raises(SystemExit, match="143"):
        DrainingServer(app).handle_exit(signal.SIGTERM, None)
