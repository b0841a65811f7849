"""What shows runs and studies while they are obtained: MLflow, Optuna's storage. No result depends on it.

mlflow is imported in here only, and not in the process that trains: a busy thread takes Python's lock from training.
``tracker`` is what another tracker has to have, ``trackers`` tells all of them. ``python -m pipeline mirror`` builds
everything anew.
"""
