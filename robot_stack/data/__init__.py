"""Episode logs, datasets and relabellers."""
