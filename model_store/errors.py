"""Everything that can be wrong with a model store.

ModelStoreError
├── ModelNotFound       no such name or version
├── InvalidManifest     manifest.json is missing, malformed or of another schema
├── DigestMismatch      a file is missing or is not the one that was published
├── VersionExists       publishing onto a version that is there already
└── InvalidCalibration  a calibration is damaged, or was made for another model
"""


class ModelStoreError(Exception):
    """Root of the tree; the message is one sentence that says what to do."""


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
