"""Build images: `python tests/cluster/images/build.py [NAME ...]`, all of them by default."""

import argparse
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])

from images import NAMES, ImageMissing, built  # noqa: E402 - the path is set above
from images.shelf import remove_all  # noqa: E402 - as above

_MIB = 2**20


def main() -> int:
    """Print name, size, seconds and archive of each image; 1 when one cannot be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(NAMES)}")
    parser.add_argument("--remove", action="store_true", help="remove every archive and layer")
    options = parser.parse_args()
    try:
        if options.remove:
            remove_all()
            return 0
        for name in options.names or NAMES:
            _print(name)
    except ImageMissing as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _print(name: str) -> None:
    started = time.monotonic()
    made = built(name)
    size = made.archive.stat().st_size / _MIB
    seconds = time.monotonic() - started
    sys.stdout.write(f"{made.reference:52} {size:6.0f} MiB {seconds:6.1f} s  {made.archive}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
