"""What a model artefact is, and the one place where pixels become tensors and back.

    manifest.py   Manifest, PixelSpec, FileEntry, Metric: the description of one artefact
    pixels.py     RGB uint8 crops <-> float32 NCHW tensors
    store.py      ModelStore: resolve, list, verify, publish
    mkl.py        what Paddle needs to know of the processor

`app` serves what lies here, `training` publishes it; neither imports the other.
"""

from pathlib import Path

BUNDLED = Path(__file__).parent
"""The store that travels with the package: `tbsrn/<version>/` lies beside this file."""
