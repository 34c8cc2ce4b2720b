"""Images to feature maps, one network family a file."""
