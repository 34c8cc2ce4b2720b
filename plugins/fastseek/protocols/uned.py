"""UnED: one gallery of many domains."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..errors import DataError
from ..registry import PROTOCOLS, unparse
from ..structures import Item, Task
from ..structures.task import needed_depth
from ._sides import truth_by_label, two_sides

DEFINITION = (
    "queries of a domain ask a gallery of all domains for their class; mMP@{k} divides the right"
    " images of the first m places by m = min(right images, {k})"
)


@PROTOCOLS.register()
class Uned:
    """Queries of every domain ask one gallery of all domains: mMP@k and recall@1 a domain, and their
    means over the domains and over all queries.

    The domain of a query is its meta "domain". An image is right where label and domain are the
    query's.

    Args:
        k: how many places count.

    Source: Ypsilantis et al., Towards Universal Image Embeddings, ICCV 2023 (arXiv 2309.01858)
    Example: uned(k=5)
    """

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def tasks(self, items: Sequence[Item]) -> list[Task]:
        """One task a domain, in the order of the alphabet.

        Raises:
            DataError: there are no queries, there is no gallery, or an image has no domain.
        """
        queries, gallery = two_sides(items)
        asked, searched = (_label_by_domain(side) for side in (queries, gallery))
        rows: dict[str, list[int]] = {}
        for row, item in enumerate(queries):
            rows.setdefault(str(item.meta["domain"]), []).append(row)
        names = unparse("uned", [], {"k": self.k}), DEFINITION.format(k=self.k)
        tasks = []
        for domain in sorted(rows):
            here = [asked[row] for row in rows[domain]]
            truth = truth_by_label(here, searched, (*names, domain))
            some = [queries[row] for row in rows[domain]]
            metrics = (f"mmp({self.k})", "recall(1)")
            depth = needed_depth(truth, self.k)
            averages = ("tasks", "queries")
            tasks.append(Task(domain, some, gallery, truth, metrics, depth, averages))
        return tasks


def _label_by_domain(items: Sequence[Item]) -> list[Item]:
    """The same images; two domains may give one label to different things.

    Raises:
        DataError: an image with a label has no domain.
    """
    labeled = []
    for item in items:
        domain = str(item.meta.get("domain", ""))
        if not domain and (item.label or item.split == "query"):
            raise DataError(f"{item.id}: its meta tells no domain, which UnED asks by")
        label = f"{domain}/{item.label}" if item.label else ""
        labeled.append(dataclasses.replace(item, label=label))
    return labeled
