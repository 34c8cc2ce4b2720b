"""Feature maps to embeddings, one branch a file."""
