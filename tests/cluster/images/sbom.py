"""The bill of materials of an image (CycloneDX), read from the image itself and not from a lock."""

import email
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from images.buildah import mounted

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

_SECONDS = 60.0
_GO_MODULE = re.compile(r"^\s*(?:dep|=>)\s+(\S+)\s+(v\S+)", re.MULTILINE)


def write_sbom(tag: str, target: Path) -> None:
    """Write what an image of the store holds: Debian packages, Python distributions, Go modules."""
    # The library is heavy and only a build needs it.
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    bom = Bom()
    name, _, version = tag.removeprefix("docker.io/").rpartition(":")
    bom.metadata.component = Component(name=name, version=version, type=ComponentType.CONTAINER)
    with mounted(tag) as root:
        for component in (*_debian(root), *_python(root), *_go(root)):
            bom.components.add(component)
    JsonV1Dot6(bom).output_to_file(str(target), allow_overwrite=True, indent=1)


def _component(
    kind: str, namespace: str | None, name: str, version: str, licence: str = ""
) -> "Component":
    from cyclonedx.factory.license import LicenseFactory
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    purl = PackageURL(kind, namespace, name, version)
    licences = [LicenseFactory().make_from_string(licence)] if licence else []
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licences)


def _debian(root: Path) -> Iterator["Component"]:
    status = root / "var/lib/dpkg/status"
    if status.exists():
        for stanza in status.read_text().strip().split("\n\n"):
            fields = email.message_from_string(stanza)
            yield _component("deb", "debian", fields["Package"], fields["Version"])


def _python(root: Path) -> Iterator["Component"]:
    # Not all of `**`: links in an image may lead out of it.
    places = [str(path) for path in (root / "opt").glob("*/lib/python3*/site-packages")]
    for found in distributions(path=places):
        yield _component("pypi", None, found.name, found.version, _licence(found))


def _licence(found: Distribution) -> str:
    """Return a licence expression or name; some packages put the whole text into the field."""
    fields = found.metadata.json
    said = str(fields.get("license_expression") or fields.get("license") or "")
    return said if "\n" not in said else ""


def _go(root: Path) -> Iterator["Component"]:
    """Yield the modules that Go notes in each program of an image made from scratch."""
    go = shutil.which("go")
    programs = [file for file in root.iterdir() if file.is_file() and not file.is_symlink()]
    if go is None or not programs:
        return
    told = subprocess.run(
        [go, "version", "-m", *map(str, programs)],
        check=False,  # a file that is no Go program is said to be none
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    for name, version in sorted(set(_GO_MODULE.findall(told.stdout))):
        yield _component("golang", None, name, version)
