"""Real torch schedulers by name, and their traces."""
