"""Where photos come from: one dataset a file."""
