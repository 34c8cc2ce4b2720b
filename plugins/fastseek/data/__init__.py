"""Images: where they come from, how they are decoded, changed, drawn and put into batches."""
