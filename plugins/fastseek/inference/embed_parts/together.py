"""Parts of an embedding by processes that run at the same time and all go on with the whole."""

from __future__ import annotations

import logging
import time

from ...io.paths import PathLike
from ...structures import Embeddings
from ...structures.embedding_job import EmbeddingJob, count_missing
from ...structures.embeddings_writer import Batches, store, store_part
from ...structures.job_part import JobPart

logger = logging.getLogger("fastreid.fastseek")
PAUSE = 1.0  # seconds between two looks at what is missing
TELL = 60  # looks between two lines of the log


def store_together(
    batches_of: Batches,
    job: EmbeddingJob,
    folder: PathLike,
    part: JobPart,
    replace: bool = False,
) -> Embeddings:
    """Embed a part as `store_part` does, and wait until the other parts are there.

    A part whose process died is waited for until it was started again.

    Args:
        batches_of, job, folder, replace: as for `store`.
        part: of this process; all of the job is waited for by nobody.

    Raises:
        FastSeekError: as `store_part`.
    """
    if part.count == 1:
        return store(batches_of, job, folder, replace)
    found = store_part(batches_of, job, folder, part, replace)
    while found is None:
        _wait(folder, part)
        found = store_part(batches_of, job, folder, part)
    return found


def _wait(folder: PathLike, part: JobPart) -> None:
    looks = 0
    while (counts := count_missing(folder))[0]:
        if looks % TELL == 0:
            told = "part %s waits: %d of %d shards of %s are missing"
            logger.info(told, part, *counts, folder)
        looks += 1
        time.sleep(PAUSE)
