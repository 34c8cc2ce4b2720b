"""What happens to one photo before it stands in a batch: one transform a file."""
