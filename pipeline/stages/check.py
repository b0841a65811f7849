"""Stage ``check``: tell every mistake in params.yaml before any result is touched, and write it out in full."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.sizes import refuse_too_large


def main() -> None:
    """Write ``data/params.json``, params.yaml with all its defaults, and a digest of each problem: DVC compares them.

    In place of a digest each stage would have all of its problem and schedulers in dvc.lock, which DVC reads and writes anew
    behind every stage.
    """
    params = load_params(CATALOGUE)
    refuse_too_large(params)
    files.write_params(params.model_dump(mode="json"), {name: params.digest(name) for name in params.problems})


if __name__ == "__main__":
    cli.run(main)
