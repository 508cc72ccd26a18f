"""Text Telescope from Python: `TelescopeClient` and `AsyncTelescopeClient`; see `text_telescope/client.py`."""

from text_telescope.client import AsyncTelescopeClient, TelescopeClient
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
from text_telescope.pictures import Answer

__all__ = [
    "Answer",
    "AsyncTelescopeClient",
    "BadImage",
    "BadRequest",
    "Overloaded",
    "Problem",
    "ServerError",
    "TelescopeClient",
    "TelescopeError",
    "TimedOut",
    "TooLarge",
    "Unreachable",
]
