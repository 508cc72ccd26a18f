"""The errors of a model store, and of reading pictures.

ModelStoreError
├── ModelNotFound       no such name or version
├── InvalidManifest     manifest.json is missing, malformed or of another schema
├── DigestMismatch      a file is missing or is not the one that was published
├── VersionExists       the version to publish exists already
└── InvalidCalibration  a calibration is damaged, or was made for another model

PictureError
├── EmptyPicture        0 bytes
├── UndecodablePicture  damaged, or no picture at all
├── UnsupportedPicture  a format, or a kind of it, that is never decoded
├── PictureTooLarge     more pixels than the caller allows
└── PictureTooSmall     a side shorter than the caller allows
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


class PictureError(Exception):
    """Root of the tree; the message is one sentence that names the problem and the remedy."""


class EmptyPicture(PictureError):
    pass


class UndecodablePicture(PictureError):
    pass


class UnsupportedPicture(PictureError):
    pass


class PictureTooLarge(PictureError):
    def __init__(self, width: int, height: int, max_pixels: float) -> None:
        super().__init__(f"The image has {width} x {height} pixels; at most {max_pixels} are accepted.")
        self.width, self.height, self.max_pixels = width, height, max_pixels


class PictureTooSmall(PictureError):
    pass
