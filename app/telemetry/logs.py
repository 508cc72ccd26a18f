"""Logs on stderr: one line a request, never image bytes or file names.

TELESCOPE_LOG_FORMAT=json   {"level": "INFO", "logger": "telescope.request", "message": "request", ...}
TELESCOPE_LOG_FORMAT=text   12:34:56 INFO    POST /v1/super-resolve 200, 23 ms, 1 image
"""

import logging
import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from json import JSONEncoder
from typing import Any, Literal

request_id: ContextVar[str] = ContextVar("request_id")  # of the current request
_encode = JSONEncoder(default=str).encode
_NOT_LOGGED = {*vars(logging.makeLogRecord({})), "color_message"}  # uvicorn's second copy, for terminals
_DIM, _RED, _GREEN, _YELLOW = 2, 31, 32, 33  # SGR parameters of ECMA-48
_LEVEL_COLOURS = {"DEBUG": _DIM, "INFO": _GREEN, "WARNING": _YELLOW}


class JsonLine(logging.Formatter):
    """Writes level, logger, message, the fields of the call's `extra`, request id, exception and time."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if known := request_id.get(None):
            line["request_id"] = known
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        return _encode(line)


class TextLine(logging.Formatter):
    """Writes local time, level, message and fields for a person; the lines `request` and `ready` are shortened."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        if record.msg == "request":
            text = self._request(**fields)
        elif record.msg == "ready":
            text = "{ref} is ready on {runtime}, {device}, {precision}".format(**fields)
        else:
            given = "".join(f"  {name}={value}" for name, value in fields.items())
            text = _lines(record.getMessage()) + self._colour(_visible(given), _DIM)
            if record.levelno > logging.INFO and (known := request_id.get(None)):
                text += self._colour(f"  request_id={known}", _DIM)
        time = self._colour(self.formatTime(record, self.datefmt), _DIM)
        level = self._colour(f"{record.levelname:<7}", _LEVEL_COLOURS.get(record.levelname, _RED))
        trace = f"\n{_lines(self.formatException(record.exc_info))}" if record.exc_info else ""
        return f"{time} {level} {text}{trace}"

    def _request(
        self,
        *,
        method: str,
        path: str,
        status: int,
        code: str,
        images: int,
        images_failed: int,
        duration_ms: float,
        **_: object,
    ) -> str:
        shown = self._colour(str(status), _GREEN if status < 400 else _YELLOW if status < 500 else _RED)
        parts = [f"{_visible(f'{method} {path}')} {shown}", f"{duration_ms:.0f} ms"]
        parts += [f"{images} image{'s' * (images > 1)}"] if images else []
        parts += [f"{images_failed} failed"] if images_failed else []
        parts += [code] if code != "ok" else []
        return ", ".join(parts)

    def _colour(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[m" if self._colours and text else text


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of the call's `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _NOT_LOGGED}


def _visible(text: str) -> str:
    """Escapes control characters, so that no client steers the terminal or forges a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _lines(text: str) -> str:
    return "\n".join(map(_visible, text.rstrip().split("\n")))


def tell_loading(models: Sequence[str]) -> None:
    """Say at a terminal why nothing happens for some seconds; a log has the line `ready`."""
    if sys.stderr.isatty():
        print(f"Loading {', '.join(models)} and warming up; this takes a few seconds ...", file=sys.stderr)


def configure_logging(level: str, log_format: Literal["auto", "text", "json"] = "json") -> None:
    """Send every log line, the web server's own included, to stderr.

    auto: text if stderr is a terminal, else json. Text has colours at a terminal, not with NO_COLOR or TERM=dumb.
    """
    handler = logging.StreamHandler()
    terminal = sys.stderr.isatty()
    if log_format == "text" or (log_format == "auto" and terminal):
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        handler.setFormatter(TextLine(colours=terminal and not plain))
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its lines of start and stop repeat ours
    else:
        handler.setFormatter(JsonLine())
    # Fields that no line shows are not looked up: Python's logging HOWTO, Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
