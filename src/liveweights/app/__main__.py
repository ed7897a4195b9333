"""``python -m liveweights.app ROLE DESCRIPTOR``"""

import sys

from liveweights.app.processes import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
