"""The queue in front of the predictor: round-robin over the admitted requests.

Work is counted in windows: an image of the network's trained size is one window, a larger image is several. In
each round every request has a turn of one window; an image of several windows takes as many rounds, from the first
of which it may run. A batch holds images of one size: it begins with the image whose turn it is and goes on with
the next images of that size.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from app.batching.plan import Plans
from app.errors import DeadlineExceeded, NotReady
from app.telemetry.tracing import BatchSpan
from model_store.pixels import Chw, Nchw, Size

EXPIRED = "The deadline passed before the image was ready."


@dataclass(frozen=True)
class InferenceResult:
    """One image's result, and where its time went."""

    sr: Chw
    queue_s: float
    inference_s: float
    batch: BatchSpan


@dataclass(eq=False)
class QueuedRequest:
    """An admitted request, from its admission to its end."""

    deadline: float
    left: int  # windows that no batch has taken yet, decoded or not
    undecoded: int  # those of them whose images have not been queued yet
    next_round: int = 0  # the turn of the next image that it queues


@dataclass(eq=False)
class Item:
    """One image in the queue or in a batch."""

    lr: Chw
    result: "asyncio.Future[InferenceResult]"
    enqueued_at: float
    request: QueuedRequest
    windows: int  # its work
    round: int
    number: int  # in order of arrival

    @property
    def size(self) -> Size:
        return self.lr.shape[1], self.lr.shape[2]

    def __lt__(self, other: "Item") -> bool:
        return (self.round, self.number) < (other.round, other.number)


class BatchQueue:
    def __init__(self, plans: Plans) -> None:
        self._full_batch = plans.full_batch
        self._windows_of = plans.windows
        self._waiting: dict[Size, list[Item]] = {}  # a heap for each size, none of them empty
        self._alone: deque[Item] = deque()  # each is a batch of its own
        self._requests: dict[QueuedRequest, None] = {}  # in order of admission
        self._numbers = itertools.count()
        self._round = 0  # new requests have their first turn in the next one
        self._stopped_because = ""
        self.arrival = asyncio.Event()  # set when images come
        self.idle = asyncio.Event()  # set while no request is admitted
        self.idle.set()
        self.left = 0  # windows admitted that no batch has taken yet

    def __bool__(self) -> bool:
        return bool(self._alone or self._waiting)

    def __iter__(self) -> Iterator[Item]:
        """All waiting images, in no order."""
        return itertools.chain(self._alone, *self._waiting.values())

    @property
    def windows(self) -> int:
        """Work of the images that wait."""
        return sum(item.windows for item in self._alone) + sum(
            len(heap) * heap[0].windows for heap in self._waiting.values()
        )

    @property
    def next_size(self) -> Size:
        """Size of the image whose turn it is."""
        return (self._alone[0] if self._alone else min(heap[0] for heap in self._waiting.values())).size

    @property
    def oldest_at(self) -> float:
        """When the image arrived that waits longest."""
        return min(item.enqueued_at for item in self)

    @property
    def earliest_deadline(self) -> float:
        """Of the requests that have work left; inf if there are none."""
        return min((request.deadline for request in self._requests if request.left), default=math.inf)

    def waiting(self, size: Size) -> int:
        """How many images of this size could share a batch."""
        return 1 if self._alone else len(self._waiting[size])

    def windows_until_done(self, windows: int) -> int:
        """How many windows are run until a new request of `windows` is finished."""
        ahead = sum(min(request.left, windows) for request in self._requests)
        return self._whole_batches(ahead + windows, with_new=windows)

    def delayed_by(self, windows: int) -> Iterator[tuple[float, int]]:
        """The deadlines that a new request of `windows` puts off.

        Gives each deadline with the number of windows that are run until its request is finished; of the requests
        with equally much left only the earliest deadline.
        """
        if self.left < self._full_batch:  # the next batch grows
            yield self.earliest_deadline, self._whole_batches(0, with_new=windows)
        unfinished = sorted((request.left, request.deadline) for request in self._requests if request.left)
        finished = previous = 0  # windows of the requests with less left; of the last one of them
        for index, (left, deadline) in enumerate(unfinished):
            if left > max(previous, 1):  # in its last round the new request comes after it
                ahead = finished + left * (len(unfinished) - index)
                yield deadline, self._whole_batches(ahead + min(windows, left - 1), with_new=windows)
            finished, previous = finished + left, left

    def _whole_batches(self, run: int, *, with_new: int) -> int:
        """`run`, or the windows of the next batch if they are more: a batch always runs whole."""
        return max(run, min(self.left + with_new, self._full_batch))

    def enter(self, request: QueuedRequest) -> None:
        self._requests[request] = None
        self.left += request.left
        self.idle.clear()

    def leave(self, request: QueuedRequest) -> None:
        self._count(request, -request.left)
        del self._requests[request]
        if not self._requests:
            self.idle.set()

    def release(self, request: QueuedRequest, windows: int) -> None:
        """These windows of a request will not be queued."""
        assert 0 <= windows <= request.undecoded
        request.undecoded -= windows
        self._count(request, -windows)

    def _count(self, request: QueuedRequest, windows: int) -> None:
        """A request has this many windows more left, or fewer."""
        request.left += windows
        self.left += windows

    def push(self, request: QueuedRequest, images: Sequence[Chw] | Nchw, *, now: float) -> list[Item]:
        """Queue images of an admitted request. Raises NotReady after `stop`."""
        if self._stopped_because:
            raise NotReady(self._stopped_because)
        loop = asyncio.get_running_loop()
        items = []
        for image in images:
            windows = self._windows_of[image.shape[1], image.shape[2]]
            request.undecoded -= windows
            turn = max(request.next_round, self._round + 1)
            request.next_round = turn + windows
            future: asyncio.Future[InferenceResult] = loop.create_future()
            items.append(Item(image, future, now, request, windows, turn, next(self._numbers)))
        assert request.undecoded >= 0, "more work than was admitted"
        self._insert(items)
        self.arrival.set()
        return items

    def stop(self, reason: str, *, in_flight: Iterable[Item]) -> None:
        """Fail the images that wait or are in flight, and refuse further ones, with NotReady(reason)."""
        self._stopped_because = reason
        for item in (*in_flight, *self):
            if not item.result.done():
                item.result.set_exception(NotReady(reason))

    def push_back(self, items: Sequence[Item], *, alone: bool) -> None:
        """Return the images of a batch that failed; they are next. alone: each in a batch of its own."""
        for item in items:
            self._count(item.request, item.windows)
        if alone:
            self._alone += items
        else:
            self._insert(items)

    def take(self, size: Size, count: int) -> list[Item]:
        """The next images of this size for one batch, `count` at most."""
        if self._alone:
            items = [self._alone.popleft()]
        else:
            heap = self._waiting[size]
            items = [heapq.heappop(heap) for _ in range(min(count, len(heap)))]
            if not heap:
                del self._waiting[size]
            self._advance(items[-1])
        for item in items:
            self._count(item.request, -item.windows)
        return items

    def drop(self, *, ends: float) -> None:
        """Remove the cancelled images, and fail those whose deadline comes no later than `ends`."""
        dropped = False
        for item in self:
            if item.request.deadline <= ends and not item.result.done():
                item.result.set_exception(DeadlineExceeded(EXPIRED))
            if item.result.done():
                self._count(item.request, -item.windows)
                dropped = True
        if dropped:
            self._alone = deque(item for item in self._alone if not item.result.done())
            waiting = list(itertools.chain.from_iterable(self._waiting.values()))
            self._waiting = {}
            self._insert([item for item in waiting if not item.result.done()])

    def _advance(self, taken: Item) -> None:
        """A new request starts after the round of the last image taken, or of an image that waits longer."""
        rounds = [heap[0].round for heap in self._waiting.values()]
        self._round = max(self._round, min([taken.round, *rounds]))

    def _insert(self, items: Sequence[Item]) -> None:
        for item in items:
            heapq.heappush(self._waiting.setdefault(item.size, []), item)
