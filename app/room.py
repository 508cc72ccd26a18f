"""What all admitted requests may hold together, whichever model each is for."""

from app.errors import RequestTooLarge


class Room:
    def __init__(self, *, max_items: int, max_bytes: int) -> None:
        """max_items: images admitted and not yet answered. max_bytes: memory that their requests hold."""
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.items = 0
        self.nbytes = 0

    @property
    def is_full(self) -> bool:
        return self.items >= self.max_items

    def fits(self, *, items: int, nbytes: int) -> bool:
        """Whether there is room now. Raises RequestTooLarge if there never is."""
        if items > self.max_items or nbytes > self.max_bytes:
            raise RequestTooLarge(
                f"The request needs room for {items} windows and {nbytes} bytes; the service holds at most "
                f"{self.max_items} windows and {self.max_bytes} bytes. Send it in parts."
            )
        return self.items + items <= self.max_items and self.nbytes + nbytes <= self.max_bytes

    def take(self, *, items: int, nbytes: int) -> None:
        self.items += items
        self.nbytes += nbytes

    def give_back(self, *, items: int, nbytes: int = 0) -> None:
        self.items -= items
        self.nbytes -= nbytes
