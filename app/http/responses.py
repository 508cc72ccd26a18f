"""Results -> the response: the picture itself, JSON with every image, or a ZIP of files."""

import asyncio
import base64
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO

from fastapi import Response

from app.errors import ServiceError
from app.http.accept import Representation, Shape
from app.http.entry_names import EntryNames
from app.http.middleware import RequestRecord
from app.http.problems import problem
from app.http.schemas import (
    DoneImage,
    FailedImage,
    ModelDetails,
    ModelInfo,
    ModelRef,
    PixelSize,
    RecomposedPage,
    SecondOpinionLimits,
    SuperResolveResponse,
)
from app.imaging.encode import MEDIA_TYPES, Format
from app.serving.model_service import ServedModel
from app.serving.registry import ModelRegistry
from app.serving.runner import CropResult, EncodedPicture


async def render(
    record: RequestRecord,
    representation: Representation,
    results: Sequence[CropResult | ServiceError],
    *,
    names: Sequence[str | None],
    page: EncodedPicture | None = None,
) -> Response:
    """page: in the shape "image", the one picture. JSON and ZIP are made in a worker thread.

    Raises the error of a single picture.
    """
    shape, image_format = representation
    record.failed = sum(isinstance(result, ServiceError) for result in results)
    if shape != "image":
        return await asyncio.to_thread(_listed, record, Files(shape, image_format), results, names, page)
    media_type = MEDIA_TYPES[image_format]
    if page:
        return Response(page.data, media_type=media_type)
    (result,) = results
    if isinstance(result, ServiceError):
        raise result
    headers = {"X-Method": result.decision.method, "X-Reason": result.decision.reason}
    return Response(result.data, media_type=media_type, headers=headers)


class Files:
    """Where a response's pictures go: into the JSON as base64, or beside it in the ZIP."""

    def __init__(self, shape: Shape, image_format: Format) -> None:
        self.shape = shape
        self.media_type = MEDIA_TYPES[image_format]
        self.held: dict[str, bytes] = {}
        self._names = EntryNames(f".{image_format}")

    def put(self, picture: EncodedPicture, filename: str | None, *, otherwise: str) -> str | None:
        """The value of `data` in the JSON: base64, or the entry's name; None for a picture without bytes.

        filename: the upload's, for the entry. otherwise: the entry's name without suffix, if the upload has none.
        """
        if not picture.data:
            return None
        if self.shape == "json":
            return base64.b64encode(picture.data).decode()
        name = self._names.take(filename, otherwise=otherwise)
        self.held[name] = picture.data
        return name


def _listed(
    record: RequestRecord,
    files: Files,
    results: Sequence[CropResult | ServiceError],
    names: Sequence[str | None],
    page: EncodedPicture | None,
) -> Response:
    """JSON or a ZIP with one entry per result."""
    request_id = record.request_id
    body = SuperResolveResponse(
        model=model_ref(record),
        images=[
            FailedImage(index=index, filename=name, problem=problem(result, str(result), request_id))
            if isinstance(result, ServiceError)
            else done(result, index, name, files)
            for index, (result, name) in enumerate(zip(results, names, strict=True))
        ],
        page=page and recomposed(page, files),
    ).model_dump_json()
    if files.shape == "json":
        return Response(body, media_type="application/json")
    return Response(zipped({"results.json": body.encode(), **files.held}), media_type="application/zip")


def model_ref(record: RequestRecord) -> ModelRef:
    assert record.model
    artefact = record.model.artefact
    return ModelRef(name=artefact.manifest.name, version=artefact.manifest.version, digest=artefact.digest)


def recomposed(page: EncodedPicture, files: Files) -> RecomposedPage:
    data = files.put(page, None, otherwise="page")
    return RecomposedPage(output=pixel_size(page.output_size), media_type=files.media_type, data=data)


def done(result: CropResult, index: int, filename: str | None, files: Files) -> DoneImage:
    decision = result.decision
    return DoneImage(
        index=index,
        filename=filename,
        input=pixel_size(result.input_size),
        output=pixel_size(result.output_size),
        method=decision.method,
        reason=decision.reason,
        blur_px=_rounded(decision.blur),
        working_scale=_rounded(decision.scale) if decision.infers else None,
        strength=decision.strength if decision.infers else None,
        media_type=files.media_type,
        data=files.put(result, filename, otherwise=f"{index:03d}"),
    )


def model_info(model: ServedModel, models: ModelRegistry) -> ModelInfo:
    manifest = model.artefact.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        active=models.is_active(model),
        default=models.default is model,
        digest=model.artefact.digest,
        runtime=model.predictor.runtime,
        device=model.predictor.device,
        precision=model.predictor.precision,
        scale=manifest.pixels.scale,
        recognisers=model.gate.recognisers,
        second_opinions={
            name: SecondOpinionLimits(below=limits.below, margin=limits.margin)
            for name, limits in model.gate.second_opinions.items()
        },
    )


def model_details(model: ServedModel, models: ModelRegistry) -> ModelDetails:
    manifest = model.artefact.manifest
    return ModelDetails(
        **model_info(model, models).model_dump(),
        input=pixel_size((manifest.pixels.height, manifest.pixels.width)),
        input_sizes=[pixel_size(size) for size in manifest.input_sizes],
        batch_sizes=list(model.predictor.batch_sizes),
        training=dict(manifest.training),
        metrics=[asdict(metric) for metric in manifest.metrics],
        licence=manifest.licence,
        git_commit=manifest.git_commit,
        created_at=manifest.created_at,
    )


def pixel_size(height_width: tuple[int, int]) -> PixelSize:
    height, width = height_width
    return PixelSize(width=width, height=height)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
