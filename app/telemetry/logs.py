"""JSON logs on stderr: one object a line, one line a request, never image bytes or file names."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from json import JSONEncoder
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id")  # of the request that is being answered
_encode = JSONEncoder(default=str).encode
_NOT_TOLD = {*vars(logging.makeLogRecord({})), "color_message"}  # uvicorn's second copy, for terminals


class JsonLine(logging.Formatter):
    """level, logger, message, what the call gave as `extra`, and time."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _NOT_TOLD},
        }
        if known := request_id.get(None):
            line["request_id"] = known
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack_info"] = record.stack_info
        line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        return _encode(line)


def configure_logging(level: str) -> None:
    """Send everything, the web server's own messages included, through one JSON handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine())
    # Not asked of the system for every line, as none tells it: Python's logging HOWTO, Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
