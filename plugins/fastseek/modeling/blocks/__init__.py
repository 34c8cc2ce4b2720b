"""What is put into a backbone, one block a file."""
