"""Tuning: one Optuna study for each scheduler and seed, all trained side by side. Optuna stays in here."""
