"""The errors of a model store.

ModelStoreError
├── ModelNotFound       no such name or version
├── InvalidManifest     manifest.json is missing, malformed or of another schema
├── DigestMismatch      a file is missing or is not the one that was published
├── VersionExists       the version to publish exists already
└── InvalidCalibration  a calibration is damaged, or was made for another model
"""


class ModelStoreError(Exception):
    """Root of the tree; the message is one sentence that names the problem and the remedy."""


class ModelNotFound(ModelStoreError):
    pass


class InvalidManifest(ModelStoreError):
    pass


class DigestMismatch(ModelStoreError):
    pass


class VersionExists(ModelStoreError):
    pass


class InvalidCalibration(ModelStoreError):
    pass
