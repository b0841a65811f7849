"""Stage ``track``: whatever brought the results and the report here, the trackers show them."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.files import REPORTS, TRACKED, json_file, write_files
from pipeline.config.params import load_params
from pipeline.runs.results import STAGES
from pipeline.tracking.trackers import trackers

PATIENCE = 600.0
"""Seconds: hundreds of runs that came from elsewhere take minutes on a busy machine."""


def main() -> None:
    """Add what they lack: runs and studies that came from elsewhere or from DVC's cache, the report, kept models; note it."""
    params = load_params(CATALOGUE)
    with trackers(PATIENCE) as shown:
        for name in params.problems:
            shown.tell("complete", name)
        shown.publish(REPORTS, [(name, stage) for name in params.problems for stage in STAGES])
        for name in params.kept_models:
            shown.tell("register", name)
    write_files([(TRACKED, json_file({"problems": list(params.problems), "kept models": params.kept_models}))])


if __name__ == "__main__":
    cli.run(main)
