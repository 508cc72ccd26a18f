"""Who may use the API, and how much: every route below /v1 depends on this where keys are configured.

    Authorization: Bearer <key>, or X-API-Key: <key>  ->  401, or the key's own allowance  ->  429, or the route

Open without a key: health, /metrics, the documentation, and the demo page with its files. They take no pictures
and show none.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from app.errors import Forbidden, StartupError, Unauthorized
from app.http.api_keys import ApiKey, identify, load_keys
from app.http.rate_limit import RateLimit
from app.settings import Settings

log = logging.getLogger("telescope.access")
_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="X-API-Key")


class Access:
    """A FastAPI dependency."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises StartupError for keys that cannot be read."""
        self._settings = settings
        self._clock = clock
        self._keys = load_keys(settings)
        self._allowances: dict[str, RateLimit] = {}  # by the key's name, so that a reload resets none

    @property
    def required(self) -> bool:
        """Whether any key is configured; a reload never changes that."""
        return bool(self._keys)

    def reload(self) -> None:
        """Read the keys again; those that cannot be read leave the old ones in force. Requests in flight go on."""
        try:
            self._keys = load_keys(self._settings)
        except StartupError as exc:
            log.error("the old API keys stay in force: %s", exc)
        else:
            log.info("API keys read again", extra={"keys": len(self._keys)})

    async def __call__(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
        header: Annotated[str | None, Security(_header)],
    ) -> AsyncIterator[None]:
        with self._used(request, bearer, header):
            yield

    def used(self, request: Request) -> AbstractAsyncContextManager[None]:
        """The same for a route that asks by itself; no key is asked for where none are configured."""
        return self._asked(request) if self.required else nullcontext()

    @asynccontextmanager
    async def _asked(self, request: Request) -> AsyncIterator[None]:
        with self._used(request, await _bearer(request), await _header(request)):
            yield

    @contextmanager
    def _used(
        self, request: Request, bearer: HTTPAuthorizationCredentials | None, header: str | None
    ) -> Iterator[None]:
        key = self._identified(bearer.credentials if bearer else header)
        record = request.state.record
        record.key = key.name
        request.state.api_key = key
        batcher = request.app.state.models.default.batcher
        with self._allowance(key).request(
            images=lambda: record.images, turn_s=lambda: batcher.overloaded("").retry_after_s
        ):
            yield

    def admin(self, request: Request) -> None:
        """A dependency beside this one: only an admin key goes on. Raises Forbidden, also where no keys are."""
        if not self.required:
            raise Forbidden(
                "This changes the service and takes an admin key, but no keys are configured; make one with "
                "`python -m app new-key NAME --admin`."
            )
        key: ApiKey = request.state.api_key
        if not key.admin:
            raise Forbidden(f"The API key {key.name} is no admin key, and this takes one.")

    def _identified(self, presented: str | None) -> ApiKey:
        if not presented:
            raise Unauthorized("This service asks for an API key: send the header 'Authorization: Bearer <key>'.")
        key = identify(self._keys, presented)
        if not key:
            raise Unauthorized("The API key is not one of this service's.")
        return key

    def _allowance(self, key: ApiKey) -> RateLimit:
        if key.name not in self._allowances:
            self._allowances[key.name] = RateLimit(
                max_concurrency=self._settings.key_max_concurrency,
                rate_per_s=self._settings.key_rate_per_s,
                burst=self._settings.key_burst,
                clock=self._clock,
            )
        return self._allowances[key.name]
