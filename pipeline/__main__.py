"""``python -m pipeline COMMAND``: what there is beside the stages that ``dvc repro`` runs; without a command, the answer."""

import importlib
import os
import sys

from pipeline.config import interrupts
from pipeline.config.errors import PipelineError, not_installed, of_the_machine

COMMANDS = {
    "answer": "what to use, what it may cost, and how sure that is",
    "init": "write a small params.yaml for your table or training script, with a comment on each key",
    "check": "check params.yaml, its data, and whether its scripts run",
    "plan": "what `make repro` would train, how long that takes, and how to make it less",
    "quick": "an answer within about a minute, for a table or one problem: five schedulers, a small search",
    "look": "show what is in a table, and the entry of params.yaml to load it with",
    "schedulers": "draw every schedule in params.yaml and name the traps in it",
    "verdict": "judge runs you already have: a table, an export, an MLflow experiment",
    "mirror": "rebuild MLflow's and Optuna's stores from the results",
    "clean": "delete what nobody needs any more, or everything, after saying what",
}


def main() -> None:
    """Carry out the command; without one, print the answer."""
    words = sys.argv[1:] or ["answer"]
    if words[0] not in COMMANDS:
        lines = [
            "usage: python -m pipeline [COMMAND] [--help]; without a command, `answer`",
            *(f"  {name:12}{told}" for name, told in COMMANDS.items()),
        ]
        is_asked = words in (["-h"], ["--help"])
        if not is_asked:
            from pipeline.config.wording import suggestion  # late: it takes pydantic along

            lines.append(f"there is no command {words[0]}; {suggestion(words[0], COMMANDS, most=3)}")
        print("\n".join(lines), file=sys.stdout if is_asked else sys.stderr)
        sys.exit(0 if is_asked else 2)
    try:
        interrupts.end(f"{words[0]}: interrupted")
        command = importlib.import_module(f"pipeline.commands.{words[0]}")
        interrupts.be_raised()
        command.main(words[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it has seen enough: `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        if not (line := not_installed(error)):
            raise
        print(line, file=sys.stderr)
        sys.exit(1)
    except PipelineError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{words[0]}: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not (line := of_the_machine(error)):
            raise
        print(f"{words[0]}: {line}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
