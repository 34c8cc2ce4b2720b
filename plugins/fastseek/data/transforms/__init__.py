"""What happens to one image before it stands in a batch: one transform a file."""
