"""Re-rankers: Ranking -> Ranking with the same images."""
