"""Which learning-rate scheduler, with which hyperparameters, and how sure can one be?

Read in import order: ``units``, ``registry``, ``params``, ``runs``, ``results``, ``problems``, ``schedulers``, ``engine``,
``catalogue``, ``tracking``, ``analysis``, ``stages``.
"""
