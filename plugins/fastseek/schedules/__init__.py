"""The learning rate over a training, one schedule a file."""
