"""The service behind `--url`: its client, opened and closed, its failures as one sentence."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.errors import StartupError

if TYPE_CHECKING:
    from text_telescope import TelescopeClient


@contextmanager
def connected(url: str, local: Mapping[str, object]) -> Iterator["TelescopeClient"]:
    """The client. local: options that only this process could follow, which the user gave.

    Raises StartupError for one of these, if the client is not installed, and in place of the client's own errors.
    """
    if local:
        option = next(iter(local)).replace("_", "-")
        raise StartupError(f"--{option} is the service's own choice; leave it out with --url.")
    try:
        from text_telescope import TelescopeClient, TelescopeError, Unreachable
    except ImportError as exc:
        raise StartupError(
            f"--url needs the Python client ({exc}); install its wheel, or in the repository: pip install ./client"
        ) from exc
    try:
        with TelescopeClient(url, api_key=os.environ.get("TELESCOPE_API_KEY")) as client:
            yield client
    except Unreachable as exc:
        raise StartupError(str(exc)) from exc  # it names the address
    except TelescopeError as exc:
        raise StartupError(f"{url}: {exc}") from exc
