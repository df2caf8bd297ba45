"""Near-duplicate search: one photograph twice, re-saved, turned, mirrored or cropped."""
