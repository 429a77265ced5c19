"""What the steps of a fine-tuning run hand to each other, in the work store.

The objects of a run lie under `finetunes/<namespace>/<job>/<run>/`.  A reader sees an object
whole or not at all, as the object store promises.  A step writes its objects first and marks
itself done last, with the digest of what it was given: a step that is run again with the same
inputs finds its mark and does nothing.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore, check_key
from nexus_pipelines.errors import StepError

_ROOT = "finetunes/"
_BLOCK = 1 << 20
_IN_MEMORY = 8 << 20  # bytes of a stream that are kept in memory before a file is used


class RunObjectMissing(StepError):
    """An object that an earlier step of the run writes is not there."""


class Written(NamedTuple):
    """An object that was written: its lines (0 for what has none), bytes, and sha256."""

    lines: int
    size: int
    digest: str


def compact(value: Any) -> str:
    """Write JSON in the one form that is hashed: sorted keys, no blanks, text as it is.

    Raises:
        ValueError: it holds a number that JSON has not (NaN, infinity).
    """
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def inputs_digest(**inputs: Any) -> str:
    """Stand for everything that a step's outcome depends on: sha256 in hex."""
    return hashlib.sha256(compact(inputs).encode("utf-8", "surrogatepass")).hexdigest()


class FineTuneStore:
    """The objects of one run; names are relative to the run, for instance `select/train.jsonl`."""

    def __init__(self, store: ObjectStore, namespace: str, job: str, run: str) -> None:
        self._store = store
        self._job_prefix = f"{_ROOT}{namespace}/{job}/"
        self._prefix = f"{self._job_prefix}{run}/"
        self.run = run

    def sibling(self, run: str) -> "FineTuneStore":
        """Open another run of the same job."""
        _, namespace, job, _ = self._job_prefix.split("/")
        return FineTuneStore(self._store, namespace, job, run)

    def key(self, name: str) -> str:
        """Return the key of an object in the work store.

        Raises:
            InvalidKey: the name climbs out of the run, or no object can be called so.
        """
        return check_key(f"{self._prefix}{name}")

    # one object

    def put_json(self, name: str, value: Any) -> str:
        """Store a JSON value; return the sha256 of its bytes."""
        data = compact(value).encode()
        self._store.put(self.key(name), io.BytesIO(data), size=len(data))
        return hashlib.sha256(data).hexdigest()

    def json(self, name: str) -> Any:
        """Read a JSON value.

        Raises:
            RunObjectMissing: it is not there.
        """
        with self.open(name) as stream:
            return json.load(stream)

    def find_json(self, name: str) -> Any:
        """Read a JSON value; None when it is not there."""
        try:
            return self.json(name)
        except RunObjectMissing:
            return None

    def put_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Written:
        """Store JSON Lines, a row at a time."""
        digest, count = hashlib.sha256(), 0
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as scratch:
            for row in rows:
                line = f"{compact(row)}\n".encode()
                digest.update(line)
                scratch.write(line)
                count += 1
            size = scratch.tell()
            scratch.seek(0)
            self._store.put(self.key(name), scratch, size=size)  # type: ignore[arg-type]
        return Written(count, size, digest.hexdigest())

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Read JSON Lines, a row at a time.

        Raises:
            RunObjectMissing: they are not there.
        """
        with self.open(name) as stream:
            for line in stream:
                yield json.loads(line)

    def put_text(self, name: str, text: str) -> None:
        """Store text as UTF-8."""
        data = text.encode()
        self._store.put(self.key(name), io.BytesIO(data), size=len(data))

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open an object for reading.

        Raises:
            RunObjectMissing: it is not there; says which step writes it.
        """
        try:
            stream = self._store.open(self.key(name))
        except ObjectNotFound as error:
            step = name.split("/", maxsplit=1)[0]
            raise RunObjectMissing(
                f"run {self.run} has no {name}: its step {step!r} has not ended well, or the run "
                "was cleaned up; start another run"
            ) from error
        with stream:
            yield stream

    def digest(self, name: str) -> str:
        """Return the sha256 of an object's bytes, in hex.

        Raises:
            RunObjectMissing: it is not there.
        """
        total = hashlib.sha256()
        with self.open(name) as stream:
            while block := stream.read(_BLOCK):
                total.update(block)
        return total.hexdigest()

    def has(self, name: str) -> bool:
        """Say whether an object is there."""
        try:
            self._store.stat(self.key(name))
        except ObjectNotFound:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete an object; deleting what is not there is fine."""
        self._store.delete(self.key(name))

    # files and folders

    def put_file(self, name: str, path: Path) -> Written:
        """Store a file, a block at a time."""
        with path.open("rb") as stream:
            digest, size = hashlib.sha256(), 0
            while block := stream.read(_BLOCK):
                digest.update(block)
                size += len(block)
            stream.seek(0)
            self._store.put(self.key(name), stream, size=size)
        return Written(0, size, digest.hexdigest())

    def fetch_file(self, name: str, into: Path) -> Path:
        """Bring an object to a file of this machine, whole or not at all."""
        into.parent.mkdir(parents=True, exist_ok=True)
        partial = into.with_name(f".{into.name}.partial")
        with self.open(name) as stream, partial.open("wb") as target:
            while block := stream.read(_BLOCK):
                target.write(block)
        partial.replace(into)
        return into

    def put_folder(self, name: str, folder: Path) -> dict[str, Written]:
        """Store the files of a folder below `name`; give them by their path in the folder.

        Files are written one by one: what must be seen whole is marked by an object that is
        written after it.  Links are left out.
        """
        files = sorted(
            path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
        )
        written = {}
        for path in files:
            relative = path.relative_to(folder).as_posix()
            written[relative] = self.put_file(f"{name.rstrip('/')}/{relative}", path)
        return written

    def fetch_folder(self, name: str, into: Path) -> list[Path]:
        """Bring the objects below `name` to a folder of this machine."""
        return [
            self.fetch_file(f"{name.rstrip('/')}/{one}", into / one) for one in self.names(name)
        ]

    def names(self, folder: str = "") -> list[str]:
        """List the objects below a folder of the run, relative to it, in the order of names."""
        prefix = f"{self._prefix}{folder.rstrip('/')}/" if folder else self._prefix
        return sorted(found.key.removeprefix(prefix) for found in self._store.list(prefix))

    def delete_folder(self, name: str) -> None:
        """Delete the objects below a folder of the run."""
        for one in self.names(name):
            self.delete(f"{name.rstrip('/')}/{one}")

    # steps

    def outcome(self, step: str, inputs: str) -> dict[str, Any] | None:
        """Return what the step gave when it was done with these inputs; None: it is to be done."""
        mark = self.find_json(f"{step}/done.json")
        if not isinstance(mark, dict) or mark.get("inputs") != inputs:
            return None
        outcome = mark.get("outcome")
        return outcome if isinstance(outcome, dict) else None

    def finish(self, step: str, inputs: str, outcome: Mapping[str, Any]) -> None:
        """Mark a step as done; the last thing that it writes."""
        self.put_json(f"{step}/done.json", {"inputs": inputs, "outcome": dict(outcome)})

    # runs of the job

    def runs(self) -> list[str]:
        """List the runs of the job that have objects, by when they were last written to."""
        newest: dict[str, float] = {}
        for found in self._store.list(self._job_prefix):
            run, slash, _ = found.key.removeprefix(self._job_prefix).partition("/")
            if slash:
                newest[run] = max(newest.get(run, 0.0), found.modified)
        return sorted(newest, key=lambda run: (newest[run], run))

    def clean_up(self, *, keep: int) -> list[str]:
        """Delete the job's older runs: all but this one and the `keep` newest; name them."""
        others = [run for run in self.runs() if run != self.run]
        old = others[: max(len(others) - keep, 0)]
        for run in old:
            self.sibling(run).remove()
        return old

    def remove(self) -> None:
        """Delete the run."""
        # Checkpoints are large and told by no mark: they go first, the mark of select last.
        for name in sorted(self.names(), key=lambda one: one.startswith("select/")):
            self.delete(name)
