"""The errors of the libtiff that Pillow uses: kept per thread, instead of printed to stderr.

libtiff prints to stderr, between the log lines of a service, and after many errors Pillow goes on with garbage.
`recorded` gives the errors to the caller. Source: libtiff's documentation of TIFFSetErrorHandler.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import _imaging

# Errors about tags that no pixel needs.
_HARMLESS = (b"TIFFFetch", b"TIFFReadDirectory", b"TIFFReadCustomDirectory", b"_TIFFVSetField")
_thread = threading.local()
_vsnprintf = ctypes.CDLL(None).vsnprintf


def _record(module: bytes | None, form: bytes, values: int) -> None:
    if hasattr(_thread, "errors") and not (module or b"").startswith(_HARMLESS):
        _vsnprintf(line := ctypes.create_string_buffer(200), 200, form, ctypes.c_void_p(values))
        _thread.errors.append(line.value.decode(errors="replace"))


@contextmanager
def recorded() -> Iterator[list[str]]:
    """The list fills with the errors that this thread meets inside the context."""
    errors: list[str] = []
    _thread.errors = errors
    try:
        yield errors
    finally:
        del _thread.errors


_handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_record)
with suppress(OSError, AttributeError):  # a Pillow without libtiff, or with its own copy inside
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(_handler)
