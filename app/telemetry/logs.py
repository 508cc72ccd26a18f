"""JSON logs on stderr: one object a line, one line a request, never image bytes or file names."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from json import JSONEncoder
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id")  # of the current request
_encode = JSONEncoder(default=str).encode
_NOT_LOGGED = {*vars(logging.makeLogRecord({})), "color_message"}  # uvicorn's second copy, for terminals


class JsonLine(logging.Formatter):
    """Writes level, logger, message, the fields of the call's `extra`, request id, exception and time."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _NOT_LOGGED},
        }
        if known := request_id.get(None):
            line["request_id"] = known
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        return _encode(line)


def configure_logging(level: str) -> None:
    """Send every log line, the web server's own included, through one JSON handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine())
    # Fields that no line shows are not looked up: Python's logging HOWTO, Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
