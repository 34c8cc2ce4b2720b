"""Where images come from: one dataset a file."""
