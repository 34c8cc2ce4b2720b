"""Which images stand together in a batch: one sampler a file."""
