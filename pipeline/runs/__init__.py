"""Runs, obtained: looked up in the store of finished ones or trained, described, checked and written."""
