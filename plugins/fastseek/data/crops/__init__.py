"""Where the second picture of a photo is cut, one way a file."""
