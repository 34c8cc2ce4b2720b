"""Training, evaluation and embedding: the only place that knows the order of the work."""
