"""One thread at a time where Python's syntax trees are made.

numpy reads the header of an .npy file as a syntax tree, and a filter is one. CPython 3.11 counts
their depth for all threads together, and raises SystemError when two make one at once.
"""

from __future__ import annotations

import threading

AST_LOCK = threading.Lock()
