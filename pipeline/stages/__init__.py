"""The stages of dvc.yaml, one module each."""

import gc
import sys

if sys.argv[:1] == ["-m"]:  # Python is about to run one of them, and what it imports first stays for good
    gc.disable()  # until `cli.run`: looking for what is no longer used takes a tenth of the imports
