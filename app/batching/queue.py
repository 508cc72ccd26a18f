"""The queue in front of the predictor: who is next, and after how many others.

Work is counted in windows, the work of an image of the network's trained size; a larger image is several. A batch
holds images of one size: that of the image whose turn it is.

Fair: requests that fit one batch and larger ones wait in two lanes, each in order of admission. While both wait,
images of the two take turns, so neither costs the other more than half of the predictor, however much it brings.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.errors import DeadlineExceeded

Chw = npt.NDArray[np.float32]  # (3, H, W)
Size = tuple[int, int]  # height, width
EXPIRED = "The deadline passed before the image was ready."


@dataclass(frozen=True)
class InferenceResult:
    """One image's answer, with where its time went."""

    sr: Chw
    queue_s: float
    inference_s: float
    batch: object = None  # what tracing knows it by


@dataclass(eq=False)
class Place:
    """A request's place in its lane, from its admission to its end."""

    lane: "Lane"
    number: int  # in order of admission
    deadline: float
    left: int = 0  # its windows that no batch has taken yet, decoded or not

    def count(self, windows: int) -> None:
        """So many more are left, or fewer."""
        self.left += windows
        self.lane.left += windows


@dataclass(eq=False)
class Item:
    """One image on its way."""

    lr: Chw
    answer: "asyncio.Future[InferenceResult]"
    enqueued_at: float
    place: Place
    number: int  # in order of arrival
    windows: int = 1  # its work

    @property
    def size(self) -> Size:
        return self.lr.shape[1], self.lr.shape[2]

    def __lt__(self, other: "Item") -> bool:
        return (self.place.number, self.number) < (other.place.number, other.number)


class Lane:
    def __init__(self) -> None:
        self.waiting: dict[Size, list[Item]] = {}  # a heap for each size, none of them empty
        self.places: dict[Place, None] = {}  # in order of admission
        self.left = 0  # over its places
        self.wanted_until = -math.inf  # those who were refused were told to come again by then

    def __iter__(self) -> Iterator[Item]:
        """In no order."""
        return itertools.chain.from_iterable(self.waiting.values())

    def push(self, item: Item) -> None:
        heapq.heappush(self.waiting.setdefault(item.size, []), item)

    def pop(self, size: Size) -> Item:
        """The first image of this size."""
        heap = self.waiting[size]
        item = heapq.heappop(heap)
        if not heap:
            del self.waiting[size]
        return item

    def first(self) -> Item:
        """The image whose turn it is."""
        return min(heap[0] for heap in self.waiting.values())

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """The others leave."""
        items = [item for item in self if wanted(item)]
        self.waiting = {}
        for item in items:
            self.push(item)

    def positions(self) -> Iterator[tuple[Place, int]]:
        """Each request that waits, and how many windows of this lane are served until its last is."""
        served = 0
        for place in self.places:
            if place.left:
                served += place.left
                yield place, served


class BatchQueue:
    def __init__(self, *, largest: int) -> None:
        """largest: the windows of a full batch; a request of more is a large one."""
        self._largest = largest
        self._small, self._large = self._lanes = Lane(), Lane()
        self._alone: deque[Item] = deque()
        self._numbers = itertools.count()
        self._large_is_next = False

    def __bool__(self) -> bool:
        return bool(self._alone) or any(lane.waiting for lane in self._lanes)

    def __iter__(self) -> Iterator[Item]:
        """In no order."""
        return itertools.chain(self._alone, *self._lanes)

    @property
    def windows(self) -> int:
        """Of the images that wait."""
        return sum(item.windows for item in self)

    @property
    def next_size(self) -> Size:
        """Of the image whose turn it is."""
        return self._alone[0].size if self._alone else self._lanes[self._large_comes_next()].first().size

    def waiting(self, size: Size) -> int:
        """How many images of this size could share a batch."""
        return 1 if self._alone else sum(len(lane.waiting.get(size, ())) for lane in self._lanes)

    @property
    def left(self) -> int:
        """Windows admitted that no batch has taken yet."""
        return sum(lane.left for lane in self._lanes)

    @property
    def earliest_deadline(self) -> float:
        """Of the requests with windows that no batch has taken yet; inf: there is none."""
        places = itertools.chain.from_iterable(lane.places for lane in self._lanes)
        return min((place.deadline for place in places if place.left), default=math.inf)

    @property
    def oldest_at(self) -> float:
        """When the image that waits longest came."""
        return min(item.enqueued_at for item in self)

    def until_done(self, windows: int, *, now: float) -> int:
        """How many windows are run until the last of a new request's is done.

        Half of what others will bring counts where the other lane has refused somebody who may come again.
        """
        own, other = self._lanes_for(windows)
        mine = own.left + windows
        return self._run(mine + (mine if now < other.wanted_until else min(mine, other.left)), self.left + windows)

    def delayed_by(self, windows: int) -> Iterator[tuple[float, int]]:
        """Whom a new request would delay: deadline, and how many windows would be run until they are done."""
        own, other = self._lanes_for(windows)
        ahead, behind, all_left = own.left, other.left, self.left
        for place, theirs in other.positions():
            if theirs > ahead or all_left < self._largest:
                yield place.deadline, self._run(theirs + min(theirs, ahead + windows), all_left + windows)
        if all_left < self._largest:  # the batch that they will share grows
            for place, theirs in own.positions():
                yield place.deadline, self._run(theirs + min(theirs, behind), all_left + windows)

    def _run(self, position: int, left: int) -> int:
        """Windows that are run until the one at `position` of `left` is done: a batch ends as a whole."""
        return max(position, min(left, self._largest))

    def beyond_its_half(self, windows: int, *, of: int, now: float) -> int:
        """By how much a new request's lane would exceed half of a queue of `of` images that it has to share."""
        own, other = self._lanes_for(windows)
        return own.left + windows - max(windows, of // 2) if now < other.wanted_until else 0

    def refused(self, windows: int, *, until: float) -> None:
        """Somebody with so many windows was told to come again by `until`: the other lane leaves it its half."""
        own, _ = self._lanes_for(windows)
        own.wanted_until = max(own.wanted_until, until)

    def enter(self, windows: int, *, deadline: float) -> Place:
        own, _ = self._lanes_for(windows)
        place = Place(own, next(self._numbers), deadline)
        place.count(windows)
        own.places[place] = None
        return place

    def leave(self, place: Place) -> None:
        place.count(-place.left)
        del place.lane.places[place]

    def number(self) -> int:
        """The next image's place in the order of arrival."""
        return next(self._numbers)

    def push(self, items: Sequence[Item]) -> None:
        for item in items:
            item.place.lane.push(item)

    def push_back(self, items: Sequence[Item], *, alone: bool) -> None:
        """Images that were taken in vain come first again; alone: each by itself."""
        for item in items:
            item.place.count(item.windows)
        if alone:
            self._alone += items
        else:
            self.push(items)

    def take(self, size: Size, count: int) -> list[Item]:
        """The next images of this size, `count` at most; one that goes alone comes first, and alone."""
        if self._alone:
            items = [self._alone.popleft()]
        else:
            items = [self._next_lane(size).pop(size) for _ in range(min(count, self.waiting(size)))]
        for item in items:
            item.place.count(-item.windows)
        return items

    def drop_the_gone(self, *, ends: float) -> None:
        """Images leave that were cancelled or whose deadline comes no later than `ends`."""
        for item in self:
            if item.place.deadline <= ends and not item.answer.done():
                item.answer.set_exception(DeadlineExceeded(EXPIRED))
            if item.answer.done():
                item.place.count(-item.windows)
        self._alone = deque(item for item in self._alone if not item.answer.done())
        for lane in self._lanes:
            if any(item.answer.done() for item in lane):
                lane.keep(lambda item: not item.answer.done())

    def _large_comes_next(self, size: Size | None = None) -> bool:
        """Whether the lane of large requests has the next image, of this size or any."""
        small, large = (size in lane.waiting if size else bool(lane.waiting) for lane in self._lanes)
        return self._large_is_next if small and large else large

    def _next_lane(self, size: Size) -> Lane:
        large = self._large_comes_next(size)
        self._large_is_next = not large
        return self._lanes[large]

    def _lanes_for(self, windows: int) -> tuple[Lane, Lane]:
        """A request's own lane, and the other one."""
        return (self._small, self._large) if windows <= self._largest else (self._large, self._small)
