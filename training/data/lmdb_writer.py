"""Write word crops in the LMDB layout of `training.data.lmdb`: all or nothing, and resumable.

    with LmdbWriter(Path("pairs"), recipe="seed 7, 1000 words") as writer:
        for label, hr, lr in items[len(writer):]:   # len(writer): samples of an interrupted run
            writer.add(label, hr=hr, lr=lr)

Samples go to `pairs.partial` in transactions of 256; `finish` writes num-samples, flushes, and renames.
A killed writer leaves either a `.partial` without a count, or a complete folder.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import lmdb
from PIL import Image

from model_store.durable import flush_to_disk
from training.data.lmdb import COUNT, PARTIAL_SUFFIX, Rgb
from training.errors import DataError

WRITTEN = b"partial-written"  # samples so far; absent from finished data
RECIPE = b"partial-recipe"  # description of the data set; kept in finished data
COMMIT_EVERY = 256  # samples that a killed writer loses at most; a few MB of memory
FIRST_MAP_BYTES = 64 << 20  # grows by doubling; the file itself only takes what is used


class LmdbWriter:
    """Writes one LMDB folder, all or nothing, and continues the `.partial` of a killed writer.

    recipe: description of the data set; a `.partial` with another recipe is refused, so that two data sets never
    mix. An exception in the block keeps the `.partial` for the next run.
    """

    def __init__(self, folder: Path, *, recipe: str) -> None:
        self.folder = Path(folder)
        self._partial = self.folder.with_name(self.folder.name + PARTIAL_SUFFIX)
        if self.folder.exists():
            raise DataError(f"{self.folder} exists already; remove it or choose another folder")
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._environment = lmdb.open(str(self._partial), map_size=FIRST_MAP_BYTES)
        except (OSError, lmdb.Error) as error:
            raise DataError(f"cannot write {self._partial}: {error}") from error
        self._pending: list[tuple[bytes, bytes]] = []
        self._committed = self._begin(recipe)
        self._count = self._committed

    def __len__(self) -> int:
        """Samples added so far, by this and by earlier, interrupted runs."""
        return self._count

    def add(self, label: str, *, hr: Rgb | bytes, lr: Rgb | bytes | None = None) -> None:
        """Append a sample; pictures as uint8 (H, W, 3) RGB, stored as PNG, or already encoded.

        Without lr the crop is stored alone, under `image-%09d`.
        """
        number = self._count + 1
        entries = [(b"label-%09d" % number, label.encode())]
        if lr is None:
            entries.append((b"image-%09d" % number, encode_png(hr)))
        else:
            entries.append((b"image_hr-%09d" % number, encode_png(hr)))
            entries.append((b"image_lr-%09d" % number, encode_png(lr)))
        self._pending += entries
        self._count = number
        if self._count - self._committed >= COMMIT_EVERY:
            self._commit([(WRITTEN, b"%d" % self._count)])

    def finish(self) -> None:
        """Write the count, flush to disk and give the folder its name. DataError if nothing was added."""
        if not self._count:
            raise DataError(f"no sample was written to {self.folder}")
        self._commit([(COUNT, b"%d" % self._count)], forget=[WRITTEN])
        self._environment.sync(True)
        self._environment.close()
        (self._partial / "lock.mdb").unlink(missing_ok=True)  # readers of finished data take no lock
        self._partial.rename(self.folder)
        flush_to_disk(self.folder.parent)

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self._commit([(WRITTEN, b"%d" % self._count)])
            self._environment.close()

    def _begin(self, recipe: str) -> int:
        """Store the recipe in a new partial, or compare it with an old one's -> number of samples in it."""
        with self._environment.begin(write=True) as transaction:
            earlier = transaction.get(RECIPE)
            if earlier is not None and earlier != recipe.encode():
                raise DataError(
                    f"{self._partial} was begun as {earlier.decode()!r}, not {recipe!r}; remove it to begin anew"
                )
            transaction.put(RECIPE, recipe.encode())
            finished = transaction.pop(COUNT)  # killed between the last commit and the rename
            written = finished or transaction.get(WRITTEN) or b"0"
            transaction.put(WRITTEN, written)
            return int(written)

    def _commit(self, last: Sequence[tuple[bytes, bytes]], forget: Sequence[bytes] = ()) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    self._check_alone(transaction)
                    for key, value in [*self._pending, *last]:
                        transaction.put(key, value)
                    for key in forget:
                        transaction.delete(key)
                break
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise DataError(f"cannot write {self._partial}: {error}") from error
        self._pending.clear()
        self._committed = self._count

    def _check_alone(self, transaction: lmdb.Transaction) -> None:
        if int(transaction.get(WRITTEN) or -1) != self._committed:
            raise DataError(f"another process is writing {self._partial}")


def encode_png(picture: Rgb | bytes) -> bytes:
    """uint8 (H, W, 3) RGB -> PNG bytes; bytes pass through. Lossless, as JPEG would add a degradation."""
    if isinstance(picture, bytes):
        return picture
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)  # level 6 takes 3 times as long
    return buffer.getvalue()
