"""The queue in front of the predictor: who is next, and after how many others.

Fair: requests that fit one batch and larger ones wait in two lanes, each in order of admission. While both wait,
images of the two take turns, so neither costs the other more than half of the predictor, however much it brings.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.errors import DeadlineExceeded

Chw = npt.NDArray[np.float32]  # (3, H, W)
EXPIRED = "The deadline passed before the image was ready."


@dataclass(frozen=True)
class Inferred:
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
    left: int = 0  # its images that no batch has taken yet, decoded or not

    def count(self, images: int) -> None:
        """So many more are left, or fewer."""
        self.left += images
        self.lane.left += images


@dataclass(eq=False)
class Item:
    """One image on its way."""

    lr: Chw
    answer: "asyncio.Future[Inferred]"
    enqueued_at: float
    place: Place
    number: int  # in order of arrival

    def __lt__(self, other: "Item") -> bool:
        return (self.place.number, self.number) < (other.place.number, other.number)


class Lane:
    def __init__(self) -> None:
        self.waiting: list[Item] = []  # a heap
        self.places: dict[Place, None] = {}  # in order of admission
        self.left = 0  # over its places
        self.wanted_until = -math.inf  # those who were refused were told to come again by then

    def positions(self) -> Iterator[tuple[Place, int]]:
        """Each request that waits, and how many images of this lane are served until its last is."""
        served = 0
        for place in self.places:
            if place.left:
                served += place.left
                yield place, served


class BatchQueue:
    def __init__(self, *, largest: int) -> None:
        """largest: the images of a full batch; a request of more is a large one."""
        self._largest = largest
        self._small, self._large = self._lanes = Lane(), Lane()
        self._alone: deque[Item] = deque()
        self._numbers = itertools.count()
        self._large_is_next = False

    def __len__(self) -> int:
        return len(self._alone) + sum(len(lane.waiting) for lane in self._lanes)

    def __iter__(self) -> Iterator[Item]:
        """In no order."""
        return itertools.chain(self._alone, *(lane.waiting for lane in self._lanes))

    @property
    def left(self) -> int:
        """Images admitted that no batch has taken yet."""
        return sum(lane.left for lane in self._lanes)

    @property
    def earliest_deadline(self) -> float:
        """Of the requests with images that no batch has taken yet; inf: there is none."""
        places = itertools.chain.from_iterable(lane.places for lane in self._lanes)
        return min((place.deadline for place in places if place.left), default=math.inf)

    @property
    def oldest_at(self) -> float:
        """When the image that waits longest came."""
        return min(item.enqueued_at for item in self)

    def until_done(self, items: int, *, now: float) -> int:
        """How many images are run until the last of a new request's `items` is done.

        Half of what others will bring counts where the other lane has refused somebody who may come again.
        """
        own, other = self._lanes_for(items)
        mine = own.left + items
        return self._run(mine + (mine if now < other.wanted_until else min(mine, other.left)), self.left + items)

    def delayed_by(self, items: int) -> Iterator[tuple[float, int]]:
        """Whom a new request would delay: deadline, and how many images would be run until they are done."""
        own, other = self._lanes_for(items)
        ahead, behind, all_left = own.left, other.left, self.left
        for place, theirs in other.positions():
            if theirs > ahead or all_left < self._largest:
                yield place.deadline, self._run(theirs + min(theirs, ahead + items), all_left + items)
        if all_left < self._largest:  # the batch that they will share grows
            for place, theirs in own.positions():
                yield place.deadline, self._run(theirs + min(theirs, behind), all_left + items)

    def _run(self, position: int, left: int) -> int:
        """Images that are run until the one at `position` of `left` is done: a batch ends as a whole."""
        return max(position, min(left, self._largest))

    def beyond_its_half(self, items: int, *, of: int, now: float) -> int:
        """By how much a new request's lane would exceed half of a queue of `of` images that it has to share."""
        own, other = self._lanes_for(items)
        return own.left + items - max(items, of // 2) if now < other.wanted_until else 0

    def refused(self, items: int, *, until: float) -> None:
        """Somebody with so many images was told to come again by `until`: the other lane leaves it its half."""
        own, _ = self._lanes_for(items)
        own.wanted_until = max(own.wanted_until, until)

    def enter(self, items: int, *, deadline: float) -> Place:
        own, _ = self._lanes_for(items)
        place = Place(own, next(self._numbers), deadline)
        place.count(items)
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
            heapq.heappush(item.place.lane.waiting, item)

    def push_back(self, items: Sequence[Item], *, alone: bool) -> None:
        """Images that were taken in vain come first again; alone: each by itself."""
        for item in items:
            item.place.count(1)
        if alone:
            self._alone += items
        else:
            self.push(items)

    def take(self, size: int) -> list[Item]:
        """The next images, `size` or as many as there are; one that goes alone comes first, and alone."""
        if self._alone:
            items = [self._alone.popleft()]
        else:
            items = [heapq.heappop(self._next_lane().waiting) for _ in range(min(size, len(self)))]
        for item in items:
            item.place.count(-1)
        return items

    def drop_the_gone(self, *, ends: float) -> None:
        """Images leave that were cancelled or whose deadline comes no later than `ends`."""
        for item in self:
            if item.place.deadline <= ends and not item.answer.done():
                item.answer.set_exception(DeadlineExceeded(EXPIRED))
            if item.answer.done():
                item.place.count(-1)
        self._alone = deque(item for item in self._alone if not item.answer.done())
        for lane in self._lanes:
            lane.waiting = [item for item in lane.waiting if not item.answer.done()]
            heapq.heapify(lane.waiting)

    def _next_lane(self) -> Lane:
        both = self._small.waiting and self._large.waiting
        large = self._large_is_next if both else not self._small.waiting
        self._large_is_next = not large
        return self._lanes[large]

    def _lanes_for(self, items: int) -> tuple[Lane, Lane]:
        """A request's own lane, and the other one."""
        return (self._small, self._large) if items <= self._largest else (self._large, self._small)
