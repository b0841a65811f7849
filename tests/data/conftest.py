"""What the tests of data share."""

from pathlib import Path

import pytest

from tests.data.helpers import Written


@pytest.fixture
def written(repository: Path) -> Written:
    """Writes files where the pipeline looks for them."""
    return Written(repository)
