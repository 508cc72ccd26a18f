"""Authentication and rate limits: all routes but the open ones depend on this if API keys are configured.

    Authorization: Bearer <key>, or X-API-Key: <key>  ->  401, or the key's rate limit  ->  429, or the route

Open without a key: health, also below /v2, /metrics, the documentation, and the demo page with its files. They
take no pictures and show none.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
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


class Authentication:
    """A FastAPI dependency."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises StartupError for keys that cannot be read."""
        self._settings = settings
        self._clock = clock
        self._keys = load_keys(settings)
        self._limits: dict[str, RateLimit] = {}  # by the key's name, so that a reload resets none

    @property
    def required(self) -> bool:
        """Whether any key is configured; a reload never changes that."""
        return bool(self._keys)

    def reload(self) -> None:
        """Read the keys again; if they cannot be read, the old ones stay in force. Requests in flight go on."""
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
        """Raises Unauthorized or RateLimited."""
        key = self._identified(bearer.credentials if bearer else header)
        record = request.state.record
        record.key = key.name
        request.state.api_key = key
        limit = self._limit(key)
        limit.enter(wait_s=request.app.state.models.default.batcher.retry_after_s)
        try:
            yield
        finally:
            limit.leave(images=record.images)

    def admin(self, request: Request) -> None:
        """A dependency after this one: requires an admin key. Raises Forbidden, also if no keys are configured."""
        if not self.required:
            raise Forbidden(
                "This changes the service and takes an admin key, but no keys are configured; make one with "
                "`text-telescope new-key NAME --admin`."
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

    def _limit(self, key: ApiKey) -> RateLimit:
        if key.name not in self._limits:
            self._limits[key.name] = RateLimit(
                max_concurrency=self._settings.key_max_concurrency,
                rate_per_s=self._settings.key_rate_per_s,
                burst=self._settings.key_burst,
                clock=self._clock,
            )
        return self._limits[key.name]
