"""What the tools of the search half do: files in, parts of several folders in order, files out."""
