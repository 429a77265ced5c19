"""Build the binaries of the test cluster: `python tests/cluster/build.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from testcluster.binaries import BinaryMissing, Name, binary

NAMES: tuple[Name, ...] = ("etcd", "kube")


def main() -> int:
    """Build what is missing and print where it lies; 1 when that fails."""
    for name in NAMES:
        try:
            sys.stdout.write(f"{binary(name)}\n")
        except BinaryMissing as error:
            sys.stderr.write(
                f"{error}\n{error.__cause__ and getattr(error.__cause__, 'stderr', '')}\n"
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
