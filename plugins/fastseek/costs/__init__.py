"""What a number of images takes: hours, bytes and memory, reckoned from measured growth."""
