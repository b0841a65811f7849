"""Which learning-rate scheduler, with which hyperparameters, and how sure can one be?

Read in import order: ``follower``, ``cache``, ``hands``, ``units``, ``registry``, ``spaces``, ``params``, ``runs``,
``results``, ``schedulers``, ``problems``, ``catalogue``, ``engine``, ``search``, ``sweeps``, ``champion``, ``tracking``,
``analysis``, ``stages``.
"""
