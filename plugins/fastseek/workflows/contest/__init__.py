"""Members trained, embedded, fused, submitted and scored, as contests are won."""
