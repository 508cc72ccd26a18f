"""API keys. Only their SHA-256 is stored; a key itself is shown once, when it is made.

name:sha256          one a line of the file TELESCOPE_API_KEYS_FILE, or between commas in TELESCOPE_API_KEYS
name:sha256:admin    may also change the service

text-telescope new-key NAME >> keys.txt     makes a key, and shows it
"""

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from app.errors import StartupError
from app.settings import PREFIX, Settings

# A name goes into logs and metrics' labels.
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<sha256>[0-9a-f]{64})(?P<admin>:admin)?")


@dataclass(frozen=True)
class ApiKey:
    name: str
    sha256: bytes
    admin: bool = False

    def entry(self) -> str:
        """As files and the environment hold it."""
        return f"{self.name}:{self.sha256.hex()}{':admin' if self.admin else ''}"


def new_key(name: str, *, admin: bool = False) -> tuple[str, ApiKey]:
    """A new key, and its stored form. It has 256 random bits, which a slow hash would not protect better.

    Raises StartupError for a name that cannot be stored.
    """
    key = f"tt_{secrets.token_urlsafe(32)}"
    stored = ApiKey(name, _digest(key), admin)
    if not _ENTRY.fullmatch(stored.entry()):
        raise StartupError(f"A key cannot be named {name!r}; use up to 64 letters, digits, '.', '_' or '-'.")
    return key, stored


def load_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """The keys of the environment and of the file; none if neither is configured.

    Raises StartupError that names the line, and never quotes it: it may be a key.
    """
    entries: list[tuple[str, str]] = []  # where it stands, and what
    if settings.api_keys is not None:
        variable = f"{PREFIX}API_KEYS"
        listed = [(f"entry {i} of {variable}", entry) for i, entry in enumerate(settings.api_keys.split(","), 1)]
        entries += _filled(listed, variable)
    if settings.api_keys_file is not None:
        file = f"{PREFIX}API_KEYS_FILE ({settings.api_keys_file})"
        try:
            lines = settings.api_keys_file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise StartupError(f"{file} cannot be read: {getattr(exc, 'strerror', None) or exc}.") from exc
        entries += _filled(
            [(f"line {i} of {file}", line.partition("#")[0]) for i, line in enumerate(lines, 1)], file
        )
    return _parsed(entries)


def identify(keys: Sequence[ApiKey], presented: str) -> ApiKey | None:
    """The key that was presented, as Starlette decodes headers. Takes equally long for every key."""
    digest = _digest(presented)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found


def _digest(key: str) -> bytes:
    return sha256(key.encode("latin-1")).digest()


def _filled(entries: list[tuple[str, str]], source: str) -> list[tuple[str, str]]:
    """Raises StartupError where nothing is left: a secret that failed to arrive must not open the service."""
    filled = [(where, entry.strip()) for where, entry in entries if entry.strip()]
    if not filled:
        raise StartupError(f"{source} is set, but holds no key; make one with `text-telescope new-key NAME`.")
    return filled


def _parsed(entries: list[tuple[str, str]]) -> tuple[ApiKey, ...]:
    keys: dict[str, ApiKey] = {}
    for where, entry in entries:
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise StartupError(
                f"{where} is not of the form name:sha256 or name:sha256:admin, with a name of up to 64 letters, "
                "digits, '.', '_' or '-'; make one with `text-telescope new-key NAME`."
            )
        if match["name"] in keys:
            raise StartupError(f"{where} has the name {match['name']}, which another key has; names must differ.")
        keys[match["name"]] = ApiKey(match["name"], bytes.fromhex(match["sha256"]), bool(match["admin"]))
    if len({key.sha256 for key in keys.values()}) < len(keys):
        raise StartupError("Two API keys have the same hash; each name needs a key of its own.")
    return tuple(keys.values())
