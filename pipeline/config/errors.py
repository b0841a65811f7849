"""The errors a user is told in one line, without a traceback."""


class PipelineError(Exception):
    """An expected error; its text names the place, the value and the remedy. ``exit_code`` ends the stage."""

    exit_code = 1


class ParamsError(PipelineError):
    """Everything that is wrong with params.yaml, one placed line each."""

    exit_code = 2
