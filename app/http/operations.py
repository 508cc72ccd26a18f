"""The endpoints beside super-resolution: models, health and metrics."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field

from app.errors import NotReady
from app.http.openapi import ACTIVATE, INVALID_PARAMETER, NOT_READY, UNKNOWN_MODEL
from app.http.query import query_parameters, read_query
from app.http.responses import model_details, model_info
from app.http.schemas import Health, ModelDetails, ModelInfo, ModelList
from app.serving.model_service import ServedModel
from app.serving.registry import ModelRegistry

router = APIRouter()
admin = APIRouter()  # needs an admin key
open_router = APIRouter()  # needs no API key


class ModelsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verbose: bool = Field(
        False, description="Also list each model's sizes, batch sizes, training, metrics, licence and commit."
    )


class ModelQuery(ModelsQuery):
    verbose: bool = Field(True, description="`false`: as short as in the list.")


@router.get(
    "/v1/models",
    summary="The served models",
    tags=["models"],
    responses=INVALID_PARAMETER,
    openapi_extra={"parameters": query_parameters(ModelsQuery)},
)
async def models(request: Request) -> ModelList:
    """Every loaded model, the default first: its version, where it runs, and its recognisers."""
    models: ModelRegistry = request.app.state.models
    describe = _description(read_query(request, ModelsQuery))
    return ModelList(models=[describe(one, models) for one in models.served])


@router.get(
    "/v1/models/{name}",
    summary="One served model",
    tags=["models"],
    responses={**UNKNOWN_MODEL, **INVALID_PARAMETER},
    openapi_extra={"parameters": query_parameters(ModelQuery)},
)
async def model(
    request: Request, name: Annotated[str, Path(description="`name` (its active version) or `name:version`.")]
) -> ModelDetails | ModelInfo:
    """Everything about one model, as the list with `verbose=true`."""
    models: ModelRegistry = request.app.state.models
    describe = _description(read_query(request, ModelQuery))
    request.state.record.model = found = models.find(name)
    return describe(found, models)


def _description(query: ModelsQuery) -> Callable[[ServedModel, ModelRegistry], ModelInfo]:
    return model_details if query.verbose else model_info


@admin.post("/v1/models/{name}/activate", summary="Switch to another version", tags=["models"], responses=ACTIVATE)
async def activate(
    request: Request,
    name: Annotated[str, Path(description="`name` (the newest version in the store) or `name:version`.")],
) -> ModelDetails:
    """Make a version the active one of its name, without dropping a request; needs an admin key.

    A version that is not loaded is opened and warmed first, beside the active one, which finishes its requests and
    is then closed. A version that cannot be loaded is refused, and the active one goes on. A restart follows
    TELESCOPE_MODEL.
    """
    models: ModelRegistry = request.app.state.models
    request.state.record.model = activated = await models.activate(name)
    return model_details(activated, models)


@open_router.head("/livez", include_in_schema=False)
@open_router.get("/livez", summary="Is the process alive?", tags=["operations"], responses=NOT_READY)
async def livez(request: Request) -> Health:
    """200 also while overloaded or draining; 503 once a predictor hangs for so long that only a restart helps."""
    state = request.app.state
    stuck_s = state.models.hangs_for_s
    if stuck_s > state.settings.restart_after_s:
        raise NotReady(f"A predictor hangs for {stuck_s:.0f} s beyond its limit; restart the service.")
    return Health(status="ok")


@open_router.head("/readyz", include_in_schema=False)
@open_router.get("/readyz", summary="Does the service take requests?", tags=["operations"], responses=NOT_READY)
async def readyz(request: Request) -> Health:
    """200 while requests are taken; 503 while draining or when a predictor hangs or has stopped."""
    request.app.state.models.check_open()
    return Health(status="ready")


@open_router.get(
    "/metrics",
    summary="Prometheus metrics",
    tags=["operations"],
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
