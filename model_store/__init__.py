"""The package between training and service: model artefacts, and the image processing that both must do alike.

    manifest.py     Manifest, PixelSpec, FileEntry, Metric: the description of one artefact
    store.py        ModelStore: resolve, list, verify, publish
    pixels.py       RGB uint8 crops <-> float32 NCHW tensors
    tiling.py       a crop of any size -> tiles of the network's input sizes -> one picture
    views.py        the network's views of one crop, and the mean of their pictures
    blur.py         the blur, contrast and noise of a crop
    calibration.py  Rule, Calibration: which crops to super-resolve for which recogniser, and how
    pictures.py     encoded pictures -> RGB: the project's one decoder
    decoding/       its parts: PNG, TIFF, JPEG, orientation, colours
    folding.py      TBSRN's weights rewritten for inference
    errors.py       ModelStoreError, PictureError and their kinds
    durable.py      writing a file so that it survives a power failure
    mkl.py          a setting that Paddle needs on AMD processors

`training` publishes artefacts and calibrations, `app` serves them; neither imports the other.
"""

import os
import sys
from pathlib import Path

# Runtimes send usage reports with a machine identifier to their makers. This turns the reports off before any
# runtime is imported: ONNX Runtime (1.29 on) reads the variable, OpenVINO sends none without its telemetry module.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

BUNDLED = Path(__file__).parent
"""The store that travels with the package: `tbsrn/<version>/` lies beside this file."""
