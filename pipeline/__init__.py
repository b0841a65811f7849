"""Which learning-rate scheduler: docs/architecture.md shows the rooms of the house."""
