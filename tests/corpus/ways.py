"""Every way that pictures take into the product: name -> pixels as it read them, or its refusal as text.

A refusal is `code: message`; empty if the way gives no code.
"""

from collections.abc import Callable

from tests.corpus import ways_to_commands as commands
from tests.corpus import ways_to_service as service
from tests.corpus import ways_to_training as training
from tests.corpus.tools import Outcomes, Tools

WAYS: tuple[Callable[[Tools], Outcomes], ...] = (
    service.raw_bodies,
    service.multipart,
    service.pages,
    service.client_bytes,
    service.client_paths,
    service.client_file_objects,
    service.client_arrays,
    service.client_of_asyncio,
    service.client_pil_images,
    commands.upscale,
    commands.upscale_by_a_service,
    commands.bulk_folder,
    commands.bulk_tar,
    commands.bulk_parquet,
    commands.bulk_lmdb,
    training.training_crops,
    training.training_lmdb,
    training.training_crop_store,
    training.training_predict,
)
# One for each decoder call of the product: the service, a bulk job and training; each of the others takes seconds.
QUICK = (service.raw_bodies, commands.bulk_tar, training.training_crops)
