"""Named embeddings to one scalar, one loss a file."""
