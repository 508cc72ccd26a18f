"""The sockets of the service, bound before a model is loaded and before FastAPI is imported."""

import errno
import socket

from app.errors import StartupError
from app.settings import Settings


def bind(settings: Settings) -> list[socket.socket]:
    """Sockets bound to PORT and ADMIN_PORT that do not listen yet: a busy port is known before a model is loaded.

    Raises StartupError naming the address and a remedy.
    """
    bound = [_bind(settings.host, settings.port, "TELESCOPE_PORT or --port")]
    if settings.admin_port:
        bound.append(_bind(settings.host, settings.admin_port, "TELESCOPE_ADMIN_PORT"))
    return bound


def _bind(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, ValueError) as exc:  # ValueError: a host with characters that no name has
        bound.close()
        busy = isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE
        remedy = (
            f"stop what uses it, or choose another port with {setting}"
            if busy
            else f"choose another address with TELESCOPE_HOST or --host, or another port with {setting}"
        )
        why = getattr(exc, "strerror", None) or exc
        raise StartupError(f"Cannot listen on {host} port {port} ({why}); {remedy}.") from exc
    return bound
