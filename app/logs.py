"""JSON logs on stderr: one object a line, one line a request, never image bytes or file names."""

import logging
from contextvars import ContextVar

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str] = ContextVar("request_id")  # of the request that is being answered


def configure_logging(level: str) -> None:
    """Send everything, the web server's own messages included, through one JSON handler."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{levelname}{name}{message}",
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn's second copy, for terminals
        )
    )
    handler.addFilter(_add_request_id)
    # Not asked of the system for every line, as none tells it: Python's logging HOWTO, Optimization.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


def _add_request_id(record: logging.LogRecord) -> bool:
    if known := request_id.get(None):
        record.request_id = known
    return True
