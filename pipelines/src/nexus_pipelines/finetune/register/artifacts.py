"""The folder of a version in the model store: plain files that are written once.

It lies at `<namespace>/<job>/<first 16 of the content's digest>/`.  `unit.json` is written last: a
folder that has it is whole.
"""

import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_api.release import ADAPTER_FILES, UNIT_FILE, ReleasableUnit, adapter_digest
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.store import FineTuneStore, compact
from nexus_registry import Run

_BLOCK = 1 << 20
_OF_RUN = "version"  # the folder among a run's files
_DIGEST = 16  # characters of the digest in a folder's name


class AdapterDiffers(StepError):
    """The adapter in the store is not the one that was evaluated."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where a version lies."""

    store: ObjectStore
    prefix: str
    uri: str

    @classmethod
    def of(cls, store: ObjectStore, url: str, namespace: str, job: str, digest: str) -> "Folder":
        """Name the folder of the content with this digest."""
        prefix = folder_prefix(namespace, job, digest)
        return cls(store, prefix, f"{url.rstrip('/')}/{prefix}")

    def put(self, name: str, data: bytes) -> None:
        """Store a small file, unless it is there: files of a version never change."""
        if not self._holds(name):
            self.store.put(f"{self.prefix}/{name}", io.BytesIO(data), size=len(data))

    def _holds(self, name: str) -> bool:
        try:
            self.store.stat(f"{self.prefix}/{name}")
        except ObjectNotFound:
            return False
        return True


def folder_prefix(namespace: str, job: str, digest: str) -> str:
    """Return where in the model store the content with this digest lies."""
    return f"{namespace}/{job}/{digest[:_DIGEST]}"


def adapter_files(run: FineTuneStore) -> dict[str, str]:
    """Return the sha256 of each file of the run's adapter."""
    names = [name for name in run.names("train/adapter") if name in ADAPTER_FILES]
    return {name: sha256_of(run, f"train/adapter/{name}") for name in names}


def sha256_of(run: FineTuneStore, name: str) -> str:
    """Return the sha256 (hex) of an object of the run."""
    digest = hashlib.sha256()
    with run.open(name) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_adapter(files: Mapping[str, str], unit: ReleasableUnit) -> None:
    """Hold the adapter against the digest that was evaluated.

    Raises:
        AdapterDiffers: it is another one, or none.
    """
    try:
        found = adapter_digest(files)
    except ValueError as error:
        raise AdapterDiffers(f"train/adapter: {error}") from error
    if found != unit.adapter_digest:
        evaluated = (unit.adapter_digest or "none")[:12]
        raise AdapterDiffers(
            f"train/adapter has the digest {found[:12]}, but {evaluated} "
            "was evaluated; nothing is registered: start another run"
        )


def write_folder(
    folder: Folder, run: FineTuneStore, unit: ReleasableUnit, texts: Mapping[str, bytes]
) -> ReleasableUnit:
    """Write a version's folder and return its unit, which says where its adapter lies.

    Args:
        folder: where to.
        run: holds the adapter.
        unit: what was evaluated.
        texts: further files by name: the decision, the model card.
    """
    for name in sorted(adapter_files(run)):
        with run.open(f"train/adapter/{name}") as stream:
            # Written again by each attempt: a store that lost the end of it is put right.
            folder.store.put(f"{folder.prefix}/{name}", stream)
    for name, data in sorted(texts.items()):
        folder.put(name, data)
    placed = unit.model_copy(update={"adapter_uri": folder.uri})
    placed = ReleasableUnit.model_validate(placed.model_dump(mode="json", by_alias=True))
    folder.put(UNIT_FILE, compact(placed.model_dump(mode="json", by_alias=True)).encode())
    return placed


def keep_with_run(folder: Folder, run: Run) -> str:
    """Store the files of a version with its run in MLflow, and return the address of these."""
    with tempfile.TemporaryDirectory() as scratch:
        for one in sorted(folder.store.list(f"{folder.prefix}/"), key=lambda found: found.key):
            file = Path(scratch) / one.key.rpartition("/")[2]
            with folder.store.open(one.key) as stream, file.open("wb") as copy:
                shutil.copyfileobj(stream, copy, _BLOCK)
            run.file(_OF_RUN, file)
            file.unlink()
    return f"runs:/{run.id}/{_OF_RUN}"


def stored_adapter_digest(folder: Folder) -> str | None:
    """Return the digest of the adapter that a folder holds; None where it is not whole."""
    found: dict[str, str] = {}
    try:
        folder.store.stat(f"{folder.prefix}/{UNIT_FILE}")
        for name in ADAPTER_FILES:
            digest = _stored_sha256(folder, name)
            if digest is not None:
                found[name] = digest
        return adapter_digest(found)
    except (ObjectNotFound, ValueError):
        return None


def _stored_sha256(folder: Folder, name: str) -> str | None:
    digest = hashlib.sha256()
    try:
        stream = folder.store.open(f"{folder.prefix}/{name}")
    except ObjectNotFound:
        return None
    with stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
