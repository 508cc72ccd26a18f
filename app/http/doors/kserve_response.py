"""The network's results -> the body of an inference response: JSON, and perhaps binary data after it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import Response
from pydantic_core import to_json

from app.http.doors.kserve_request import InferCall
from app.http.doors.kserve_schemas import DATATYPE, HEADER_LENGTH, OUTPUT
from model_store.manifest import Manifest
from model_store.pixels import Chw


def write(call: InferCall, manifest: Manifest, sr: Sequence[Chw]) -> Response:
    """sr: one result for each tile, float32 (3, H, W), as the network gave them."""
    rows = [np.ascontiguousarray(row, "<f4") for row in sr]
    output: dict[str, Any] = {"name": OUTPUT, "datatype": DATATYPE, "shape": [len(rows), *rows[0].shape]}
    if call.binary:
        output["parameters"] = {"binary_data_size": sum(row.nbytes for row in rows)}
    answer = {"model_name": manifest.name, "model_version": str(manifest.version), "outputs": [output]}
    text = to_json(answer if call.id is None else {"id": call.id} | answer)
    if call.binary:
        body = b"".join([text, *(row.data for row in rows)])
        return Response(body, media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(text))})
    numbers = b",".join(to_json(row.ravel().tolist())[1:-1] for row in rows)  # by the tile: each 1 ms on the GIL
    body = text.removesuffix(b"}]}") + b',"data":[' + numbers + b"]}]}"
    return Response(body, media_type="application/json")
