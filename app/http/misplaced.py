"""Texts, and compressed data, that come in the place of a file, described for an error message.

-F image=crop.png             the name of a file: the @ is missing
-F image=https://...          an address, which is not fetched
-F image=iVBORw0KGgo...       base64, or JSON: they have a Content-Type of their own, application/json
"""

import base64
import re

_READ = 200  # bytes; enough to know a text
_SHOWN = 60  # characters
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"%PDF")
_SPOILT = (  # beginnings of a PNG or JPEG after a treatment as text: UTF-8, Latin-1, line ends changed or removed
    *(b"\xef\xbf\xbdPNG", b"\xef\xbf\xbd\xef\xbf\xbd", b"\xc2\x89PNG", b"\xc3\xbf\xc3\x98"),
    *(b"\x89PNG\n", b"\x89PNG\x1a"),
)
_NAME = re.compile(r"[^\n]{1,150}\.[A-Za-z][A-Za-z0-9]{1,4}")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
JSON_CALL = """curl -H 'Content-Type: application/json' -d '{"images": [{"data": "<base64>"}]}'"""
_AS_JSON = f" (base64 is taken as JSON alone: {JSON_CALL})"


def misplaced_text(data: bytes, *, plain: bool = True, in_json: bool = False) -> str | None:
    """The kind of a text and its beginning, in half a sentence; None if the data is no text.

    plain: also describe a text of no known kind. in_json: the request has the Content-Type that base64 needs.
    """
    if data.startswith(_SPOILT):
        return "a picture that was changed as if it were text (curl -d does so, --data-binary does not)"
    if data.startswith(b"\x1f\x8b"):
        return "gzip data, which is not unpacked"
    if data.startswith(b"--") and b"content-" in data[:_READ].lower():
        return "a multipart body (each picture is a part of its own, and the HTTP library sets the Content-Type)"
    text = data[:_READ].decode(errors="replace").rstrip("\ufffd").strip()  # the cut may split a letter
    if not text or "\ufffd" in text or not re.sub(r"\s", "", text).isprintable():
        return None
    kind = _kind(text, base64_call="" if in_json else _AS_JSON) or ("text" if plain else None)
    return kind and f"{kind}: {shown(text)}"


def shown(text: str) -> str:
    return f"{text[:_SHOWN]!r}{'...' * (len(text) > _SHOWN)}"


def is_address(text: str) -> bool:
    return bool(_ADDRESS.match(text))


def is_file_name(text: str) -> bool:
    return bool(_NAME.fullmatch(text))


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _kind(text: str, *, base64_call: str) -> str | None:
    if is_data_url(text):
        return f"a data: URL{base64_call}"
    if is_address(text):
        return "an address, and addresses are not fetched"
    if re.match(r"""[{[]\s*[-"{[\]}\d]""", text):
        return "JSON (it needs the header 'Content-Type: application/json')"
    if _is_base64(text.strip("\"'")):
        return f"a picture as base64 text{base64_call}"
    if is_file_name(text):
        return "the name of a file (with curl, an @ before it sends the file)"
    return None


def _is_base64(text: str) -> bool:
    """Whether the text is base64 of a picture, by its first bytes."""
    try:
        return base64.b64decode(text[:16], validate=True).startswith(_MAGIC)
    except ValueError:
        return False
