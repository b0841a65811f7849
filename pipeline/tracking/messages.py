"""What is told where a tracker could not be told something; passwords are in none of it."""

import os
import re

VARIABLES = {"MLflow": "MLFLOW_TRACKING_URI", "Optuna's storage": "OPTUNA_STORAGE"}
"""Where the user says where each tracker's store is."""
SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_PASSWORD = re.compile(r"(?P<user>\w://[^:/\s@]*):(?P<password>\S+)@")


class TrackerError(Exception):
    """A tracker could not be told something; says what it answered."""


def one_line(error: BaseException) -> str:
    """The error in a line."""
    text = masked(str(error)).strip().partition("\n")[0][:300].rstrip(".")
    return text if isinstance(error, TrackerError) else f"{type(error).__name__}: {text}"


def given(tracker: str) -> str:
    """Where the user has put a tracker's store, to stand behind an error of it: few of them name the server."""
    variable = VARIABLES[tracker]
    place = os.environ.get(variable)
    return f" ({variable} is {masked(place)})" if place else ""


def masked(text: str) -> str:
    """The text with ``***`` for passwords: those in URLs, whatever signs they hold, and those that the environment holds."""
    known = {os.environ.get(name, "") for name in SECRETS}
    for name in VARIABLES.values():
        known |= {found["password"] for found in _PASSWORD.finditer(os.environ.get(name, ""))}
    for secret in sorted(known - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _PASSWORD.sub(r"\g<user>:***@", text)
