"""Tuning: one Optuna study for each scheduler and seed, all trained side by side. Optuna stays in here."""

import optuna

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line for each study and each trial says nothing a user needs
