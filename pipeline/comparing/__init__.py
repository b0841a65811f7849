"""``pipeline.compare``: a study from Python, of a model and data that are at hand there, through the same stages."""
