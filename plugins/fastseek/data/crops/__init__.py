"""Where the second view of an image is cut, one way a file."""
