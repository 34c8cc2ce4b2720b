"""All our registries, each with its contract."""

from __future__ import annotations

from typing import Any

from .members import Registry
from .protocols import (
    Adapter,
    ClassMetric,
    Crop,
    Dataset,
    Enhancer,
    EvaluationProtocol,
    Fuser,
    Metric,
    Reranker,
    Sampler,
    Schedule,
    Searcher,
    Transform,
)

DATASETS: Registry[Dataset] = Registry(
    "dataset",
    """Where images come from.

Built with the recipe's arguments; has `.items`, a list of `Item` or `Items` (splits "train",
"query", "gallery", "test", "distractor"). A benchmark says how it is scored: `protocol`, a call
string of PROTOCOLS, or, where its truth lies in files of its own, `tasks()`, a list of `Task`.
`folder('/my/images')` in `DATASETS.NAMES` reaches it; names fast-reid knows
reach fast-reid's own.
""",
    "data.datasets",
)


TRANSFORMS: Registry[Transform] = Registry(
    "transform",
    """One image before it becomes a batch.

Built with the recipe's arguments; called with a PIL RGB image, or a float32 tensor [3, H, W] in
0..255, and returns one of the two. Draws random numbers from torch's global generator only (the
loader seeds it per sample). What it is given is not changed. One that draws nothing says so,
`fixed = True`, and lists in `files` what it reads; one that looks at other training images has
`lend(read, count)`.
""",
    "data.transforms",
)


SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    """Which images stand together in a batch.

Built with `labels` (int64 [N], class of each image), `groups` (int64 [N], camera or session),
`batch_size` (all processes together), `world_size` and `seed`; `epoch(n)` returns int64 [batches,
batch_size], row numbers, a function of seed and n alone, with as many batches in every epoch.
Cutting every row into `world_size` equal runs must be legal. Impossible settings raise ValueError
when built.
""",
    "data.samplers",
    runtime=("labels", "groups", "batch_size", "world_size", "seed"),
)


CROPS: Registry[Crop] = Registry(
    "crop",
    """Where the second view of an image is cut.

Built with the recipe's arguments; called with items it returns float32 [N, 4], left, top, right
and bottom as shares of width and height, NaN where the whole image is taken. `digest` tells what
else its answer depends on, as a string.
""",
    "data.crops",
)


BACKBONES: Registry[Any] = Registry(
    "backbone",
    """Images to feature maps.

Built with the recipe's arguments; `channels` is a dict name -> channels; called with a normalized
float tensor [B, 3, H, W] it returns a dict of the same names -> [B, C, h, w].
""",
    "modeling.backbones",
)


BLOCKS: Registry[Any] = Registry(
    "block",
    """What is put into a backbone: attention, another normalization.

Built with the recipe's arguments; called with a backbone of ours whose weights are loaded, it
returns the backbone with the block in its place; `channels` stays what the maps have. A name the
backbone does not have is a ValueError.
""",
    "modeling.blocks",
)


BRANCHES: Registry[Any] = Registry(
    "branch",
    """Feature maps to embeddings.

Built with `channels` (the backbone's); called with the dict of maps it returns a dict name -> [B,
D] that holds at least its own recipe name, the vector used for retrieval unless `tested` names
another; `dims` tells D of every name. Where a batch tells more, the maps hold "places" float32
[B, 4] and "crops", the maps of a second view.
""",
    "modeling.branches",
    runtime=("channels",),
)


LOSSES: Registry[Any] = Registry(
    "loss",
    """Named embeddings to one scalar.

Built with `dims` (name -> D, from the branches) and `counts` (int64 [classes], training images a
class); has `on`, the name of the embedding it wants; called with (embedding [B, D], targets int64
[B]) it returns a scalar, its weight already applied. One whose `wants_ids` is True is called with
the ids of the images as a third argument. One that classifies has `logits`, [B, D] to [B, C]. A
module of the model with `at_step(step)` is told the number of every training step
before it, one with `start_training(steps)` how many there will be.
""",
    "modeling.losses",
    runtime=("dims", "counts"),
)


SCHEDULES: Registry[Schedule] = Registry(
    "schedule",
    """The learning rate over a training.

Built with the recipe's arguments, `iters_per_epoch`, `max_epoch` and `base_lr`; `factor(step)` is
what the learning rate of every group is multiplied with in step `step` (from 0), a function of
the step alone. A step is an update of the weights, with SEEK.ACCUMULATE that of several batches.
`corners`, where there, are the steps a table must show.
""",
    "schedules",
    runtime=("iters_per_epoch", "max_epoch", "base_lr"),
)


VIEWS: Registry[Any] = Registry(
    "view",
    """Test-time views.

Called with a batch [B, 3, H, W] it returns a list of batches, the given one included. The
features of all views are brought to length 1 and added; with a member whose `raw` is True they
are added as they are.
""",
    "views",
)


ENHANCERS: Registry[Enhancer] = Registry(
    "enhancer",
    """Embeddings to better embeddings.

Called with (queries, gallery), both `Embeddings` of one model, a member returns new vectors of
both, two arrays [N, D], or two `Embeddings` with the same ids in the same order. What it is given
may lie on disk: `side.vectors[rows]` reads it. The frame writes the provenance and gives the caller
`Embeddings`. What the frame cannot know a member says in the provenance of what it returns:
{"fit": digest} of what it learned, or the whole of it, with "parents", where it joins the
embeddings of other models.
""",
    "enhance",
    framed=True,
)


ADAPTERS: Registry[Adapter] = Registry(
    "adapter method",
    """A linear layer learned from labeled vectors of a frozen model.

Called with (vectors float32 [N, D] of length 1, classes int64 [N], numbers from 0, each at least
once and two or more), a member returns (mean [D], directions [dim, D]), both float64 and finite: a
vector x becomes directions @ (x - mean), and gets length 1 again. What it is given is not changed,
and the same gives the same. `fastseek adapt` fits, mixes and judges it; `adapter(file)` among the
enhancers applies it.
""",
    "adapt",
)


SEARCHERS: Registry[Searcher] = Registry(
    "searcher",
    """Embeddings x Embeddings to a ranking.

Called with (queries, gallery), both `Embeddings` of one model, a member returns a `Ranking`, or
(indices, scores), both [Q, K] with -1 and -inf at the end of a short row. The frame writes its
provenance: call and parents, and what the member's own ranking says besides (engine, exact,
recall). `k` says how many images a query gets, 0 where that is not known; a search that holds
another has it as `searcher`.
""",
    "search",
    framed=True,
    defaults={"k": 0, "searcher": None},
)


RERANKERS: Registry[Reranker] = Registry(
    "reranker",
    """A ranking to a better ranking.

Called with (ranking, queries, gallery) that belong together, a member returns new scores [Q, K] of
the answers as the ranking lists them; the frame puts them in order. Or it returns (indices,
scores), best first, or a `Ranking`: the same gallery ids for every query. Only a member whose
`inserts` is True may put other images in their place; lists do not grow longer. The frame writes
the provenance: that of the ranking, and one more call.
""",
    "rerank",
    framed=True,
    defaults={"inserts": False},
)


FUSERS: Registry[Fuser] = Registry(
    "fuser",
    """Many rankings to one.

Built with the recipe's arguments; called with a list of `Ranking` over the same queries, matched
by id, and, where it takes them, with the names that errors call them by, a member returns one
`Ranking` in the first one's order, or (indices, scores) over the first one's queries and gallery.
Fusing a ranking with itself leaves its order as it is. The frame writes the provenance: the call,
and those of the members.
""",
    "fuse",
    framed=True,
)


METRICS: Registry[Metric] = Registry(
    "metric",
    """A ranking and the truth to scores.

Called with (ranking, truth) it returns a list of `Score`.
""",
    "metrics",
)


PROTOCOLS: Registry[EvaluationProtocol] = Registry(
    "protocol",
    """How a benchmark is scored: what asks, what is searched, what is right, which figures.

Built with the recipe's arguments; `tasks(items)` takes the items of a data set, of which it reads
label, group, split and meta, and returns a list of `Task`, whose names differ; the truth of each
names the protocol. Items without what it needs are a DataError. What it is given is not changed,
and the same gives the same: what it draws follows from its `seed`.
""",
    "protocols",
)


CLASS_METRICS: Registry[ClassMetric] = Registry(
    "class metric",
    """Class probabilities and the true classes to scores.

Called with (probabilities [N, C] float32, truth int64 [N] with -1 where the true class is none of
the C, counts int64 [C], training images a class) it returns a list of `Score` whose `per_query`
are the N images.
""",
    "classification",
)


EVALUATORS: Registry[Any] = Registry(
    "evaluator",
    """How a test set is judged; fast-reid's own form of it.

Built with the recipe's arguments and, where it takes them, `num_query` (how many images at the
front are queries), `items` (those of the test set, in order; None where the loader is another's),
`judge` (queries, gallery, truth -> figures, by what the recipe says of search and metrics) and
`name_rejects` (names images that could not be read).
`reset()`, then `process(batch, what the model made of it)` for every batch, then `evaluate()`: in
the main process a dict of figures in percent, in which "metric" chooses the best checkpoint, and
an empty one in the others. One whose `follows_recipe` is not True judges by its own rules, and a
recipe that asks for others beside it is refused.
""",
    "training.evaluators",
    defaults={"follows_recipe": False},
    runtime=("num_query", "items", "judge", "name_rejects"),
)


def registries() -> dict[str, Registry[Any]]:
    """Every registry by the name of the folder that holds its members, such as "rerank"."""
    found = [value for value in globals().values() if isinstance(value, Registry)]
    return {members.package.rpartition(".")[2]: members for members in found}
