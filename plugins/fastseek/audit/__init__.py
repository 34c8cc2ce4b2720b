"""Quality of data and models: what stands twice, what contradicts, what does not fit."""
