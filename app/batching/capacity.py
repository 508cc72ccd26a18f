"""What all admitted requests may hold together, whichever model each is for."""

from app.errors import RequestTooLarge


class Capacity:
    def __init__(self, *, max_windows: int, max_bytes: int) -> None:
        """max_windows: work admitted and not yet answered. max_bytes: memory that its requests hold."""
        self.max_windows = max_windows
        self.max_bytes = max_bytes
        self.windows = 0
        self.nbytes = 0

    @property
    def is_full(self) -> bool:
        return self.windows >= self.max_windows

    def fits(self, *, windows: int, nbytes: int) -> bool:
        """Whether there is room now. Raises RequestTooLarge if there never is."""
        if windows > self.max_windows or nbytes > self.max_bytes:
            raise RequestTooLarge(
                f"The request needs room for {windows} windows and {nbytes} bytes; the service holds at most "
                f"{self.max_windows} windows and {self.max_bytes} bytes. Send it in parts."
            )
        return self.windows + windows <= self.max_windows and self.nbytes + nbytes <= self.max_bytes

    def take(self, *, windows: int, nbytes: int) -> None:
        self.windows += windows
        self.nbytes += nbytes

    def give_back(self, *, windows: int, nbytes: int = 0) -> None:
        self.windows -= windows
        self.nbytes -= nbytes
