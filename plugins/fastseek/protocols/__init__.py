"""Protocols: the items of a benchmark -> tasks, each with its queries, gallery and truth."""

from ._tasks_of import protocol_of, tasks_of

__all__ = ["protocol_of", "tasks_of"]
