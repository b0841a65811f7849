"""Say in one line what is missing before a virtual environment can be made. Runs on any Python 3."""

import sys

if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed, this is %d.%d; name another one: make PYTHON=python3.11 …" % sys.version_info[:2])
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    sys.exit("Python's venv module is missing; install it with: sudo apt install python%d.%d-venv" % sys.version_info[:2])
