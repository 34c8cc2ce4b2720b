"""Test-time views of a photo, one a file, and `embed`, which turns them into one embedding."""
