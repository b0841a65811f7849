"""Stage ``check``: tell every mistake in params.yaml before any result is touched, and write it out in full."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.sizes import refuse_too_large


def main() -> None:
    """Write ``data/params.json``: params.yaml with all its defaults, which is what DVC compares for the other stages."""
    params = load_params(CATALOGUE)
    refuse_too_large(params)
    files.write_params(params.model_dump(mode="json"))


if __name__ == "__main__":
    cli.run(main)
