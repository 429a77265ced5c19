"""What the cluster relies on in every image that the project publishes."""

import importlib.util
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from images import Built, host
from images.catalogue import OWN, recipe
from sandbox import Sandbox, configuration

VERSION = "0.1.0"
MIB = 2**20
LABELS = ("title", "description", "version", "revision", "licenses")

Unpack = Callable[[str], Sandbox]
Ship = Callable[[str], Built]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.parametrize("name", OWN)]

# Of the extra `gate` of nexus-evaluation, which the monitor's image does without.
_GATES = [
    *("nexus_evaluation.assessment", "nexus_evaluation.behavioural", "nexus_evaluation.experiment"),
    *("nexus_evaluation.gate", "nexus_evaluation.observed", "nexus_evaluation.report"),
    *("nexus_evaluation.reproduce", "nexus_evaluation.simulation"),
    *("nexus_evaluation.statistics.", "nexus_monitor.simulation"),
]
_IMPORT_ALL = """
import importlib, pkgutil, sys
root = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
    if module.name.startswith(tuple(sys.argv[2:])):
        continue
    if "migrations" not in module.name.split("."):  # run by Alembic alone
        importlib.import_module(module.name)
print(len(sys.modules))
"""


def own_packages(name: str) -> list[str]:
    """Return the packages of ours that an image copies."""
    text = recipe(name).dockerfile.read_text()
    folders = re.findall(r"^COPY (\S+) \1$", text, re.MULTILINE)
    root = recipe(name).context
    return [path.parent.name for one in folders for path in (root / one).glob("src/*/py.typed")]


def pins(name: str) -> str:
    return "".join(lock.read_text() for lock in recipe(name).locks)


def packages_folder(sandbox: Sandbox) -> Path:
    (folder,) = sandbox.root.glob("opt/nexus/lib/python3*/site-packages")
    return folder


def test_its_script_answers_for_help_as_65532_on_a_read_only_root(
    name: str, unpacked: Unpack
) -> None:
    sandbox = unpacked(name)
    (script,) = sandbox.config["Entrypoint"]
    assert "usage" in sandbox.run(script, "--help").lower()
    assert sandbox.run("id", "-u").strip() == sandbox.run("id", "-g").strip() == "65532"


def test_the_root_is_read_only_in_these_tests(name: str, unpacked: Unpack) -> None:
    said = unpacked(name).run("sh", "-c", "touch /opt/nexus/x 2>&1 || touch /tmp/x")
    assert "Read-only file system" in said


def test_every_module_of_ours_is_imported_there(name: str, unpacked: Unpack) -> None:
    # What trains is imported where torch is: the trainer shares a distribution with the pipelines.
    left_out = [] if "\ntorch==" in pins(name) else ["nexus_pipelines.finetune.train."]
    left_out += [] if "\nscipy==" in pins(name) else _GATES
    for package in own_packages(name):
        unpacked(name).run("python", "-W", "ignore", "-c", _IMPORT_ALL, package, *left_out)


def test_its_configuration_says_who_and_what_it_is(name: str, shipped: Ship) -> None:
    config, _ = configuration(shipped(name).archive)
    assert config["User"] == "65532:65532"
    labels = config["Labels"]
    assert all(labels[f"org.opencontainers.image.{key}"] for key in LABELS)
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.version"] == VERSION


def test_a_change_of_our_code_moves_a_small_layer_only(name: str, shipped: Ship) -> None:
    _, sizes = configuration(shipped(name).archive)
    assert sizes[-1] < 4 * MIB, sizes
    assert sizes[-2] > 4 * sizes[-1], sizes


def test_nothing_that_only_a_build_needs_is_left(name: str, unpacked: Unpack) -> None:
    root = unpacked(name).root
    installed = {path.name.partition("-")[0] for path in packages_folder(unpacked(name)).iterdir()}
    pinned = pins(name)
    tools = {"pip", "setuptools", "wheel", "hatchling"}
    assert not {tool for tool in installed & tools if f"\n{tool}==" not in pinned}
    for place in ("root/.cache", "var/cache/pip", "build", "own", "var/lib/apt/lists/lock"):
        assert not (root / place).exists(), place


def test_nothing_of_the_machine_that_built_it_is_left(name: str, unpacked: Unpack) -> None:
    root = unpacked(name).root
    for place in ("etc/apt/sources.list", "etc/pip.conf"):
        assert not (root / place).read_text(), place
    trusted = (root / host.BUNDLE.lstrip("/")).read_text().count("BEGIN CERTIFICATE")
    assert trusted == len(list((root / "usr/share/ca-certificates/mozilla").glob("*.crt")))
    assert not [variable for variable in unpacked(name).config["Env"] if "CERT" in variable]


def test_its_user_may_write_nowhere_but_to_places_for_everyone(name: str, unpacked: Unpack) -> None:
    root = unpacked(name).root
    writable = set()
    for path in root.rglob("*"):
        found = path.lstat()
        sticky = found.st_mode & stat.S_ISVTX
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & stat.S_IWOTH and not sticky:
            writable.add(str(path.relative_to(root)))
        assert found.st_uid != 65532, path
    assert not {path for path in writable if not path.startswith(("dev/", "proc/"))}


def test_bytecode_is_there_and_never_checked_against_its_source(
    name: str, unpacked: Unpack
) -> None:
    folder = packages_folder(unpacked(name))
    for package in own_packages(name):
        for source in (folder / package).rglob("*.py"):
            (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
            head = compiled.read_bytes()[:8]
            assert head[:4] == importlib.util.MAGIC_NUMBER
            assert int.from_bytes(head[4:], "little") == 0b01, compiled


def test_its_bill_of_materials_is_valid_and_names_what_is_pinned(name: str, shipped: Ship) -> None:
    bill = shipped(name).sbom.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    pinned = pins(name)
    for package, version in re.findall(r"^(pydantic(?:-core)?)==(\S+) ", pinned, re.MULTILINE):
        assert f"pkg:pypi/{package}@{version}" in bill
    assert "pkg:pypi/nexus-api@0.1.0" in bill
    assert "pkg:deb/debian/libssl3@" in bill
