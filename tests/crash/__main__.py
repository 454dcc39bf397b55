"""python -m tests.crash --help"""

import sys

from tests.crash.commands import main

if __name__ == "__main__":
    sys.exit(main())
