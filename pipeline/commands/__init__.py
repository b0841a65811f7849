"""The words after ``python -m pipeline``, one module each."""
