"""Which models are loaded, and which of them answers. The routes ask here.

    ?model=  -> use -> ServedModel (one loaded model), kept for as long as it is used
    activate -> look up in the store -> open and warm beside the old one -> switch -> the old one ends, is closed

There are as many predictors as TELESCOPE_MODEL lists, and one more from the opening of a new version until the old
one is closed. What is active lives in this process alone: the store is only read, and a restart goes by
TELESCOPE_MODEL.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

from app.batching.capacity import Capacity
from app.errors import ModelRefused, NotReady, StartupError, UnknownModel
from app.inference.predictor import DaemonThreads
from app.serving.model_service import LoadedModel, ServedModel
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import OFF, Tracing
from model_store.errors import ModelNotFound, ModelStoreError
from model_store.store import Artefact, ModelStore

LOAD_TIMEOUT_S = 300.0  # a runtime that hangs while it opens must not hold up the switches after it
Load = Callable[[Artefact], LoadedModel]
log = logging.getLogger("telescope.models")


class ModelRegistry:
    """`stop` belongs to the application's lifespan; make it where the event loop runs."""

    def __init__(
        self,
        loaded: Sequence[LoadedModel],
        *,
        load: Load,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        """loaded: the first is the default, and the first of a name its active version.

        load: opens and warms another one; blocking, raises ModelStoreError or StartupError.
        """
        self._load = load
        self._store = ModelStore(settings.model_store)
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        self.capacity = Capacity(
            max_windows=settings.max_queue_windows,
            max_decoded_bytes=settings.max_queue_bytes,
            max_body_bytes=settings.max_upload_bytes,
            max_unsent_bytes=settings.max_answer_bytes,
        )
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="codec")
        self._services: dict[str, ServedModel] = {}  # by name:version
        self._active: dict[str, ServedModel] = {}  # by name, the default first
        self._retired: ServedModel | None = None  # what it began is being ended
        self._retirement: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()
        self._closed_because = ""
        for model in loaded:
            service = self._serve(model)
            self._active.setdefault(service.name, service)
        self._tell_metrics()

    @property
    def default(self) -> ServedModel:
        return next(iter(self._active.values()))

    @property
    def served(self) -> list[ServedModel]:
        """Those that answer, the default first, and then the other loaded versions."""
        active = list(self._active.values())
        return [*active, *(service for service in self._services.values() if service not in active)]

    def is_active(self, service: ServedModel) -> bool:
        return self._active.get(service.name) is service

    def find(self, wanted: str | None) -> ServedModel:
        """`name` is its active version, `name:version` that one, None the default. Raises UnknownModel."""
        if wanted is None:
            return self.default
        found = self._active.get(wanted) or self._services.get(wanted)
        if not found:
            served = ", ".join(service.ref for service in self.served)
            raise UnknownModel(f"The model {wanted!r} is not served here; served: {served}.")
        return found

    def use(self, wanted: str | None) -> AbstractContextManager[ServedModel]:
        """The model that was asked for, which is not closed before the context ends. Raises UnknownModel."""
        return self.find(wanted).used()

    async def activate(self, wanted: str) -> ServedModel:
        """Let a version answer for its name: `name:version`, or `name` for the newest in the store.

        One that is not loaded is opened and warmed first, and takes the place of the active one, which is closed
        when the requests that it has are answered. Raises NotReady, UnknownModel, or ModelRefused for one that
        cannot be served; the active version then goes on.
        """
        name = wanted.partition(":")[0]
        async with self._switching:
            self._check_not_closing()
            if name not in self._active:
                raise UnknownModel(
                    f"TELESCOPE_MODEL does not list {name!r}; a version of {', '.join(self._active)} is."
                )
            artefact = await asyncio.to_thread(self._resolve, wanted)
            service = self._services.get(artefact.manifest.ref) or await self._replace(
                self._active[name], artefact
            )
            self._active[name] = service
            self._tell_metrics()
            log.info("model activated", extra={"model": service.ref, "digest": service.artefact.digest})
            return service

    async def _replace(self, old: ServedModel, artefact: Artefact) -> ServedModel:
        if self._retirement:  # so that there never are more than two of a kind
            await asyncio.wait([self._retirement])
        model = await self._opened(artefact)
        if self._closed_because:
            await asyncio.to_thread(model.predictor.close)
            self._check_not_closing()
        service = self._serve(model)
        del self._services[old.ref]
        self._retired = old
        self._retirement = asyncio.create_task(self._retire(old), name=f"retirement of {old.ref}")
        return service

    def _resolve(self, wanted: str) -> Artefact:
        try:
            return self._store.resolve(wanted)
        except ModelNotFound as exc:
            raise UnknownModel(f"The store has no such model: {exc}.") from exc
        except ModelStoreError as exc:
            raise _refused(wanted, exc) from exc

    async def _opened(self, artefact: Artefact) -> LoadedModel:
        ref, thread = artefact.manifest.ref, DaemonThreads("loader")
        opening = thread.submit(lambda: self._load(artefact))
        thread.stop()
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                return await asyncio.wrap_future(opening)
        except TimeoutError as exc:
            opening.add_done_callback(_close_late)
            raise ModelRefused(
                f"{ref} was not loaded within {LOAD_TIMEOUT_S:g} s; the active one goes on."
            ) from exc
        except (ModelStoreError, StartupError) as exc:
            raise _refused(ref, exc) from exc
        except Exception as exc:  # whatever a library throws at a damaged network
            log.exception("loading %s failed", ref)
            raise _refused(ref, "the runtime failed; the cause is in the service's log") from exc

    async def _retire(self, service: ServedModel) -> None:
        await service.unused()
        self._retired = None
        await service.stop()
        log.info("model closed", extra={"model": service.ref})

    def _serve(self, model: LoadedModel) -> ServedModel:
        service = ServedModel(
            model,
            capacity=self.capacity,
            workers=self._workers,
            settings=self._settings,
            metrics=self._metrics,
            tracing=self._tracing,
        )
        self._services[service.ref] = service
        service.start()
        return service

    def _tell_metrics(self) -> None:
        self._metrics.loaded((service.info(), self.is_active(service)) for service in self.served)

    # Health and the end, of all models together.

    @property
    def hangs_for_s(self) -> float:
        """For how long the worst predictor has hung beyond its limit; 0 if none does."""
        return max(service.batcher.hangs_for_s for service in self._services.values())

    @property
    def is_open(self) -> bool:
        return all(service.batcher.is_open for service in self._services.values())

    def check_open(self) -> None:
        """Raises NotReady, saying why, unless every loaded model takes requests."""
        for service in self._services.values():
            service.batcher.check_open()

    @property
    def queued_windows(self) -> int:
        return sum(service.batcher.queued_windows for service in self._all())

    async def idle(self) -> None:
        """Returns when every admitted request has been answered and let go."""
        await asyncio.gather(*(service.batcher.idle() for service in self._all()))

    def begin_drain(self) -> None:
        """From now on every new request is refused; those admitted are answered."""
        self._closed_because = "The service is shutting down; send the request to another replica."
        for service in self._all():
            service.batcher.close(self._closed_because)

    def abandon(self) -> None:
        """Refuse also the requests that were admitted and have no answer yet."""
        self.begin_drain()
        for service in self._all():
            service.abandon()

    async def stop(self) -> None:
        self.abandon()
        if self._retirement:
            self._retirement.cancel()
        await asyncio.gather(*(service.stop() for service in self._all()))
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> list[ServedModel]:
        return [*self._services.values(), *([self._retired] if self._retired else [])]

    def _check_not_closing(self) -> None:
        if self._closed_because:
            raise NotReady(self._closed_because)


def _refused(ref: str, why: object) -> ModelRefused:
    return ModelRefused(f"{ref} cannot be served: {str(why).rstrip('.')}. The active version goes on.")


def _close_late(opening: "Future[LoadedModel]") -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().predictor.close()
