"""Data: from native layouts to batches."""
