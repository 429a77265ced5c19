"""Runs an image as a restricted pod would: its own user, a read-only root, a fresh /tmp."""

import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# $1 root, $2 user, $3 folder for data or empty, $4 where it appears; the rest is the command.
_ENTER = """
set -e
root=$1 user=$2 data=$3 place=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for folder in /var/run/postgresql; do
    [ ! -d "$root$folder" ] || mount -t tmpfs -o mode=1777 tmpfs "$root$folder"
done
if [ -n "$data" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$root/mnt"
    mount --bind "$data" "$root$place"
fi
cd "$root"
exec chroot --userspec="$user" "$root" "$@"
"""
_SECONDS = 90.0


@dataclass(frozen=True)
class Sandbox:
    """An unpacked image and what its configuration says."""

    root: Path
    config: dict[str, Any]
    data: Path | None = None
    place: str = "/mnt"
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a program in the image; it dies with its parent."""
        variables = [*self.config["Env"], *(f"{k}={v}" for k, v in self.variables.items())]
        data = str(self.data or "")
        enter = ["sh", "-c", _ENTER, "enter", str(self.root), self.config["User"], data, self.place]
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*isolated, *enter, "env", "-i", *variables, *arguments]

    def run(self, *arguments: str) -> str:
        """Run a program to its end and return what it printed; fails with its errors."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


def configuration(archive: Path) -> tuple[dict[str, Any], list[int]]:
    """Return an image's configuration and the sizes of its layers in bytes, the lowest first."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:
            file = tar.extractfile(name)
            assert file is not None
            return json.load(file)

        (manifest,) = read("manifest.json")
        members = {member.name: member for member in tar.getmembers()}
        layers = [members[name] for name in manifest["Layers"]]
        sizes = [members.get(layer.linkname, layer).size for layer in layers]
        return read(manifest["Config"])["config"], sizes
