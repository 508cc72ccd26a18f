"""The loaded models: which one serves a request, and switching between versions without losing a request.

    ?model=  -> find -> ServedModel, which is not closed while in use
    activate -> look up in the store -> open and warm beside the old one -> switch -> drain the old one -> close it

TELESCOPE_MODEL lists the models, each with a predictor; a switch needs one predictor more until the old version is
closed. The active version is known to this process alone: the store is only read, and a restart follows
TELESCOPE_MODEL.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from app.batching.capacity import Capacity
from app.errors import ModelRefused, NotReady, StartupError, UnknownModel
from app.inference.threads import DaemonThreads
from app.serving.loading import LoadedModel
from app.serving.model_service import ServedModel
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import OFF, Tracing
from model_store.errors import ModelNotFound, ModelStoreError
from model_store.store import Artefact, ModelStore

LOAD_TIMEOUT_S = 300.0  # a runtime that hangs while it opens must not block later switches
Load = Callable[[Artefact], LoadedModel]
log = logging.getLogger("telescope.models")


class ModelRegistry:
    """Create it inside the running event loop, and await `stop` at shutdown."""

    def __init__(
        self,
        loaded: Sequence[LoadedModel],
        *,
        load: Load,
        capacity: Capacity,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        """loaded: the first is the default, and the first of each name its active version.

        load: opens and warms one more model; blocking, raises ModelStoreError or StartupError.
        """
        self._load = load
        self._store = ModelStore(settings.model_store)
        self._capacity = capacity
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="codec")
        self._models: dict[str, ServedModel] = {}  # by name:version
        self._active: dict[str, ServedModel] = {}  # by name, the default first
        self._retired: ServedModel | None = None  # finishes its requests, then is closed
        self._retirement: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()
        self._closed_because = ""
        for one in loaded:
            model = self._serve(one)
            self._active.setdefault(model.name, model)
        self._update_metrics()

    @property
    def default(self) -> ServedModel:
        return next(iter(self._active.values()))

    @property
    def served(self) -> list[ServedModel]:
        """The active versions, the default first, and then the other loaded ones."""
        active = list(self._active.values())
        return [*active, *(model for model in self._models.values() if model not in active)]

    def is_active(self, model: ServedModel) -> bool:
        return self._active.get(model.name) is model

    def find(self, wanted: str | None) -> ServedModel:
        """`name`: its active version; `name:version`: that version; None: the default. Raises UnknownModel."""
        if wanted is None:
            return self.default
        found = self._active.get(wanted) or self._models.get(wanted)
        if not found:
            served = ", ".join(model.ref for model in self.served)
            raise UnknownModel(f"The model {wanted[:100]!r} is not served here; served: {served}.")
        return found

    async def activate(self, wanted: str) -> ServedModel:
        """Make a version the active one of its name: `name:version`, or `name` for the newest in the store.

        A version that is not loaded is opened and warmed first, and replaces the active one, which finishes its
        requests and is closed. Raises NotReady, UnknownModel, or ModelRefused for a version that cannot be served;
        the active version then goes on.
        """
        name = wanted.partition(":")[0]
        async with self._switching:
            self._check_not_closing()
            if name not in self._active:
                raise UnknownModel(
                    f"TELESCOPE_MODEL does not list {name!r}; a version of {', '.join(self._active)} is."
                )
            artefact = await asyncio.to_thread(self._resolve, wanted)
            model = self._models.get(artefact.manifest.ref) or await self._replace(self._active[name], artefact)
            self._active[name] = model
            self._update_metrics()
            log.info("model activated", extra={"model": model.ref, "digest": model.artefact.digest})
            return model

    async def _replace(self, old: ServedModel, artefact: Artefact) -> ServedModel:
        if self._retirement:  # never more than one predictor beyond those of TELESCOPE_MODEL
            await asyncio.wait([self._retirement])
        loaded = await self._open(artefact)
        if self._closed_because:
            await asyncio.to_thread(loaded.predictor.close)
            self._check_not_closing()
        model = self._serve(loaded)
        del self._models[old.ref]
        self._retired = old
        self._retirement = asyncio.create_task(self._retire(old), name=f"retirement of {old.ref}")
        return model

    def _resolve(self, wanted: str) -> Artefact:
        try:
            return self._store.resolve(wanted)
        except ModelNotFound as exc:
            raise UnknownModel(f"The store has no such model: {exc}.") from exc
        except ModelStoreError as exc:
            raise _refused(wanted, exc) from exc

    async def _open(self, artefact: Artefact) -> LoadedModel:
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
        except Exception as exc:  # libraries raise any type for a damaged network
            log.exception("loading %s failed", ref)
            raise _refused(ref, "the runtime failed; the cause is in the service's log") from exc

    async def _retire(self, model: ServedModel) -> None:
        await model.unused.wait()
        self._retired = None
        await model.stop()
        log.info("model closed", extra={"model": model.ref})

    def _serve(self, loaded: LoadedModel) -> ServedModel:
        model = ServedModel(
            loaded,
            capacity=self._capacity,
            workers=self._workers,
            settings=self._settings,
            metrics=self._metrics,
            tracing=self._tracing,
        )
        model.start()
        self._models[model.ref] = model
        return model

    def _update_metrics(self) -> None:
        self._metrics.loaded((model.info(), self.is_active(model)) for model in self._models.values())

    @property
    def hangs_for_s(self) -> float:
        """Seconds that the worst predictor has hung beyond its limit; 0 if none hangs."""
        return max(model.batcher.hangs_for_s for model in self._models.values())

    @property
    def is_open(self) -> bool:
        return all(model.batcher.is_open for model in self._models.values())

    def check_open(self) -> None:
        """Raises NotReady with the reason unless every loaded model takes requests."""
        for model in self._models.values():
            model.batcher.check_open()

    @property
    def queued_windows(self) -> int:
        return sum(model.batcher.queued_windows for model in self._all())

    async def idle(self) -> None:
        """Returns when every admitted request has ended."""
        await asyncio.gather(*(model.batcher.idle() for model in self._all()))

    def begin_drain(self) -> None:
        """Refuse every new request from now on; admitted ones are finished."""
        self._closed_because = "The service is shutting down; send the request to another replica."
        for model in self._all():
            model.batcher.close(self._closed_because)

    def abandon(self) -> None:
        """Refuse also the admitted requests that have no result yet."""
        self.begin_drain()
        for model in self._all():
            model.abandon()

    async def stop(self) -> None:
        self.abandon()
        if self._retirement:
            self._retirement.cancel()
        await asyncio.gather(*(model.stop() for model in self._all()))
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> list[ServedModel]:
        return [*self._models.values(), *([self._retired] if self._retired else [])]

    def _check_not_closing(self) -> None:
        if self._closed_because:
            raise NotReady(self._closed_because)


def _refused(ref: str, why: object) -> ModelRefused:
    return ModelRefused(f"{ref} cannot be served: {str(why).rstrip('.')}. The active version goes on.")


def _close_late(opening: "Future[LoadedModel]") -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().predictor.close()
