"""What the tests of the engine share."""

from collections.abc import Iterator

import pytest

from pipeline.engine import compiler


@pytest.fixture(scope="module", params=["-O0", pytest.param("-O3", marks=pytest.mark.slow)])
def flags(request: pytest.FixtureRequest) -> Iterator[None]:
    """How well the C compiler is to do: as for the stages it takes several times as long, and `make test-slow` waits for it.

    For what is held to other code up to rounding; what holds to the bit is always compiled as for the stages.
    """
    assert "-O3" in compiler.FLAGS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "FLAGS", (*compiler.FLAGS, request.param))
        yield
