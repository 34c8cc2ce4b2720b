"""Test-time views of an image, one a file, and `embed`, which turns them into one embedding."""
