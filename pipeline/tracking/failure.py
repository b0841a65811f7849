"""What is told where MLflow could not be told something."""


class MirrorError(Exception):
    """MLflow could not be told something; says what it answered."""


def one_line(error: Exception) -> str:
    """The error in a line."""
    text = str(error).strip().partition("\n")[0][:300].rstrip(".")
    return text if isinstance(error, MirrorError) else f"{type(error).__name__}: {text}"
