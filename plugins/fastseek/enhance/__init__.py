"""Enhancers: (queries, gallery) -> better embeddings of the same images."""
