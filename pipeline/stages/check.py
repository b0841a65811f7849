"""Stage ``check``: tell every mistake in params.yaml before any result is touched, and write it out in full."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params


def main() -> None:
    """Write ``data/params.json``: params.yaml with all its defaults, which is what DVC compares for the other stages."""
    files.write_params(load_params(CATALOGUE).model_dump(mode="json"))


if __name__ == "__main__":
    cli.run(main)
