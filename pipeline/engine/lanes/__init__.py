"""A training step compiled for many runs at once: one run in each lane of the processor's vectors."""
