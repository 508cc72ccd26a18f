"""What a model artefact is, and the one place where pixels become tensors and back.

    manifest.py   Manifest, PixelSpec, FileEntry, Metric: the description of one artefact
    pixels.py     RGB uint8 crops <-> float32 NCHW tensors
    store.py      ModelStore: resolve, list, verify, publish
    mkl.py        what Paddle needs to know of the processor

`app` serves what lies here, `training` publishes it; neither imports the other.
"""

import os
import sys
from pathlib import Path

# Who loads a runtime has imported this package before, and runtimes report to their makers and give the machine an
# identifier unless they are kept from it: ONNX Runtime (1.29 on) by its variable, OpenVINO for want of a module.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

BUNDLED = Path(__file__).parent
"""The store that travels with the package: `tbsrn/<version>/` lies beside this file."""
