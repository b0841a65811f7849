"""Training: many runs as one tensor program, or one run as a PyTorch user writes it. Knows nothing of files or trackers."""
