"""The Met data set as it is downloaded."""

from __future__ import annotations

from ...formats import met as lists
from ...formats.listed import Listed
from ...registry import DATASETS
from ...structures import Task, with_split
from ._benchmark import build_items, compare_counts, find_home, find_part
from ._listed_tasks import Asked, labels_of, listed_task, rows_by_label

NAME = "Met"
FOLDERS = ("met", "MET", "Met", "met_dataset")
QUERIES = {"test": "testset.json", "val": "valset.json"}
COUNTS = {False: {"gallery": 397121}, True: {"gallery": 38307}}
DEFINITION = (
    "photos of visitors ask for the museum's photos of the exhibit; queries of other art or of none"
    " have no answer, and their best image counts as wrong"
)


@DATASETS.register()
class Met:
    """Met: photos by visitors ask for studio photos of the same exhibit; most queries show other art
    or none.

    The figures are GAP, over all queries (the official GAP) and over those with an exhibit (GAP-),
    and accuracy. They are those of the nearest neighbor; the official classifier of several
    neighbors, tuned on the validation, is higher.

    Args:
        root: the folder with ground_truth/ and images/; "" looks for met below the data roots.
        mini: whether the database is the small one, of the exhibits of the queries.
        queries: "test" or "val".
        train: whether the database is trained on, too.

    Raises:
        DataError: a file is not there; names it. ValueError: other queries.

    Source: Ypsilantis et al., The Met Dataset: Instance-level Recognition for Artworks, NeurIPS
        Datasets and Benchmarks 2021 (arXiv 2202.01747)
    Example: met(root='met', mini=True)
    """

    def __init__(
        self, root: str = "", mini: bool = False, queries: str = "test", train: bool = False
    ) -> None:
        if queries not in QUERIES:
            raise ValueError(f"queries must be 'test' or 'val', got {queries!r}")
        home = find_home(root, NAME, FOLDERS, "ground_truth", "MET_database.json")
        base = f"{'mini_' if mini else ''}MET_database.json"
        database = lists.read_database(find_part(home, NAME, f"ground_truth/{base}", base))
        name = QUERIES[queries]
        asked = lists.read_queries(find_part(home, NAME, f"ground_truth/{name}", name))
        listed = [Listed(one.name, one.exhibit, "query") for one in asked]
        listed += [Listed(one.name, one.exhibit, "gallery") for one in database]
        if train:
            listed += [Listed(one.name, one.exhibit, "train") for one in database]
        self.root, self.mini, self.queries = str(home), mini, queries
        self.items = build_items(home, find_part(home, NAME, "images").name, listed)
        compare_counts(NAME, self.items, COUNTS[mini])

    def tasks(self) -> list[Task]:
        """The one task."""
        queries, gallery = with_split(self.items, "query"), with_split(self.items, "gallery")
        rows = rows_by_label(gallery)
        right = [rows.get(label, []) for label in labels_of(queries)]
        name = f"met(mini={self.mini}, queries={self.queries!r})"
        asked = Asked(name, DEFINITION, ("gap()", "gap(ignore_empty=True)", "top1()"), 1)
        return [listed_task(asked, queries, gallery, right)]
