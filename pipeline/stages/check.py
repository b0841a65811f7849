"""Stage ``check``: tell every mistake in params.yaml before any result is touched, and write it out in full."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.sizes import refuse_too_large
from pipeline.engine.code import code_of_stages


def main() -> None:
    """Write ``data/params.json``, params.yaml with all its defaults, and ``data/digests.json``, of problems and code."""
    params = load_params(CATALOGUE)
    refuse_too_large(params)
    problems = {name: params.digest(name) for name in params.problems}
    files.write_params(params.model_dump(mode="json"), {"code": code_of_stages(), "problems": problems})


if __name__ == "__main__":
    cli.run(main)
