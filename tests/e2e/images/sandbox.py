"""Runs an image as a restricted pod would: its own user, a read-only root, a fresh /tmp."""

import json
import shlex
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SECONDS = 400.0
_ISOLATED = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_EMPTY = ("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs")


@dataclass(frozen=True)
class Sandbox:
    """An opened image and what its configuration says.

    `volumes` are folders by the path that they are mounted at, None for an empty one.
    """

    root: Path
    config: dict[str, Any]
    volumes: Mapping[str, Path | None] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs a program in the image; it dies with its parent."""
        root, volumes = str(self.root), {"/tmp": None, **self.volumes}
        variables = [*self.config["Env"], *(f"{k}={v}" for k, v in self.variables.items())]
        place = f"--chdir={self.config.get('WorkingDir') or '/'}"
        inside = ["env", "-i", place, *variables, *arguments]
        steps = [
            ["set", "-e"],
            ["mkdir", "-p", *(root + path for path in volumes)],
            ["mount", "--bind", root, root],
            ["mount", "-o", "remount,bind,ro", root],
            ["mount", "--rbind", "/dev", f"{root}/dev"],
            ["mount", "-t", "proc", "proc", f"{root}/proc"],
            *(
                ["mount", "--bind", str(folder), root + path] if folder else [*_EMPTY, root + path]
                for path, folder in volumes.items()
            ),
            ["exec", "chroot", f"--userspec={self.config['User']}", root, *inside],
        ]
        return [*_ISOLATED, "sh", "-c", "\n".join(map(shlex.join, steps))]

    def entry_point(self, *arguments: str) -> list[str]:
        """Return the command line that a pod with these arguments would run."""
        return self.command(*self.config["Entrypoint"], *arguments)

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
