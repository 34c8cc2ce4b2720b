"""Rounds over images without labels: cluster, select, train, label."""
