"""The hash of embeddings: plain ids keep theirs, and no two lists of ids share one."""

import hashlib

import numpy as np

from fastseek.knn.fingerprint import fingerprint
from fastseek.structures import Embeddings


def of(*ids):
    return fingerprint(Embeddings(list(ids), np.ones((len(ids), 1), np.float32)))


def test_plain_ids_keep_the_hash_by_which_files_know_them():
    content = b"float32 (2, 1)" + "ä\nb".encode() + np.ones(2, np.float32).tobytes()
    assert of("ä", "b") == hashlib.sha256(content).hexdigest()


def test_no_two_lists_of_ids_have_one_hash():
    lists = [
        ("a\nb", "c"),
        ("a", "b\nc"),
        ("ab", "c"),
        ("\ud800", "c"),
        ("\udced\udca0\udc80", "c"),
        ("\udcc3\udca4", "c"),
        ("ä", "c"),
    ]
    assert len({of(*ids) for ids in lists}) == len(lists)
