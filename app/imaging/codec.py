"""The names of `decode` and `encode` under one roof, until every importer names the two."""

from app.imaging.decode import DECODED, Probed, decode, is_short, probe
from app.imaging.encode import MEDIA_TYPES, Format, check_result, encode

__all__ = [
    "DECODED", "MEDIA_TYPES", "Format", "Probed", "check_result", "decode", "encode", "is_short", "probe",
]  # fmt: skip
