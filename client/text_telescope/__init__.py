"""Text Telescope from Python: `TelescopeClient` and `AsyncTelescopeClient`; see `text_telescope/client.py`."""

from importlib.metadata import version

from text_telescope.async_client import AsyncTelescopeClient
from text_telescope.client import TelescopeClient
from text_telescope.exchange import (
    BadImage,
    BadRequest,
    Overloaded,
    Problem,
    ServerError,
    TelescopeError,
    TimedOut,
    TooLarge,
    Unreachable,
)
from text_telescope.page import PageLine, PageResult
from text_telescope.pictures import Answer
from text_telescope.second_opinion import Opinion, Reading

__version__ = version("text-telescope-client")

__all__ = [
    "Answer",
    "AsyncTelescopeClient",
    "BadImage",
    "BadRequest",
    "Opinion",
    "Overloaded",
    "PageLine",
    "PageResult",
    "Problem",
    "Reading",
    "ServerError",
    "TelescopeClient",
    "TelescopeError",
    "TimedOut",
    "TooLarge",
    "Unreachable",
]
