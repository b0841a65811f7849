"""The MLflow mirror: one MLflow run for each training run, with its curves while it trains.

mlflow is imported in here only, and not in the process that trains. A busy thread takes Python's lock from training
(importing mlflow in one, 2.5 s, brings a loop of small torch operations to a stop; in a process of its own it costs
nothing), so a child process (``child``) does the work. It is told what to log over a pipe (``mirror``), one message at a
time, and answers each; what is logged meanwhile goes along with the next. Whatever fails there costs one warning and no
result.

``recorder`` says what MLflow has of a stage's runs, ``publishing`` what it has of the report and of the models that are kept,
``connection`` where it is, and ``store`` how rows come there. ``python -m pipeline mirror`` builds the mirror anew from the
files under ``results/``.
"""
