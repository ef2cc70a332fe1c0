"""The whole story in one run: a simulated camera and arm by default, ``--camera 0`` for a webcam.

The same as ``vision-ik demo``; see ``python demo.py --help``.
"""

import sys

from vision_ik.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
