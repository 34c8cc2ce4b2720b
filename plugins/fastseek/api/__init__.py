"""The Python API: what `import fastseek` offers, `fastseek.search(…)` and its fellows.

`fastseek` imports this package when one of its names is first asked for; which there are stands in
`fastseek.__all__`.
"""

from __future__ import annotations

from ..errors import ArtefactError, DataError, FastSeekError, RunError, UsageError
from ..structures import Answer, Embeddings, GroundTruth, Ranking, Score
from ..structures.ranking import set_viewer
from .benchmarking import bench
from .embedding import embed, load_model
from .inputs import load_embeddings, load_truth
from .listing import PartInfo, load_recipe, parts
from .living_index import Index
from .shown import Shown, show
from .verbs import adapt, evaluate, fuse, rerank, search

set_viewer(show)
