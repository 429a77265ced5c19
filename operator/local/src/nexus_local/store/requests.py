"""The write requests of the API on one transaction: create, apply, patch, replace, delete."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from nexus_api.meta import Manifest
from nexus_local.store import fields, objects
from nexus_local.store.admission import admit
from nexus_local.store.database import Row, Transaction, ref_of
from nexus_local.store.kinds import Kind, kind_of
from nexus_operator.cluster.errors import AlreadyExists, Conflict, Invalid, NotFound
from nexus_operator.cluster.protocol import Ref

EVENTS_KEPT = 1000
EVENT_LIFE = timedelta(hours=1)
"""As the API server has it by default (`--event-ttl`)."""
_EVENT = kind_of("v1", "Event")


@dataclass(frozen=True, slots=True)
class Requests:
    """What a writer may ask; each method is one request in one transaction."""

    transaction: Transaction
    now: datetime

    def create(self, manifest: Manifest, manager: str = "") -> Manifest:
        """Store a new object; raises AlreadyExists or Invalid.

        manager: when given, it owns all fields of the manifest, as after an apply.
        """
        kind = kind_named(manifest)
        namespace, name = objects.address(kind, manifest)
        ref = Ref(kind.api_version, kind.name, namespace, name)
        if self.transaction.read(ref) is not None:
            raise AlreadyExists(f'{kind.plural} "{name}" already exists')
        admitted = admit(kind, objects.created(kind, manifest, (namespace, name), self.now), None)
        applied = fields.applied_fields(manifest, status=not kind.status)
        managed = {manager: set(fields.leaves(applied))} if manager else {}
        stored = self.transaction.insert(admitted, managed)
        if kind == _EVENT:
            for row in self.transaction.oldest(kind, EVENTS_KEPT):
                self.transaction.remove(row.body)
        self._collect_unowned(stored)
        return stored

    def expire_events(self) -> None:
        """Drop the events that have outlived EVENT_LIFE."""
        limit = objects.timestamp(self.now - EVENT_LIFE)
        for row in self.transaction.created_before(_EVENT, limit):
            self.transaction.remove(row.body)

    def apply(self, manifest: Manifest, manager: str, *, force: bool) -> Manifest:
        """Create the object or merge what `manager` wants of it (server-side apply)."""
        kind = kind_named(manifest)
        ref = Ref(kind.api_version, kind.name, *objects.address(kind, manifest))
        row = self.transaction.read(ref)
        if row is None:
            metadata = manifest["metadata"]
            for key in ("uid", "resourceVersion"):
                if metadata.get(key):
                    raise Conflict(f"{ref} is not there, but {key} {metadata[key]} was sent")
            return self.create(manifest, manager)
        applied = fields.applied_fields(manifest, status=not kind.status)
        if not force and (paths := fields.contested(row.managed, manager, row.body, applied)):
            listed = ", ".join(".".join(path) for path in paths)
            raise Conflict(
                f"Apply failed with conflicts on {ref}: {listed}; use force to take over"
            )
        wanted = set(fields.leaves(applied))
        others = {p for who, paths in row.managed.items() if who != manager for p in paths}
        dropped = row.managed.get(manager, set()) - wanted - others
        after = fields.merged(row.body, applied, dropped)
        after["metadata"] = {
            **after["metadata"],
            **{k: v for k, v in manifest["metadata"].items() if k in {"uid", "resourceVersion"}},
        }
        return self._write(kind, row, after, status=False, applied=(manager, wanted))

    def patch(self, ref: Ref, patch: Manifest, *, status: bool) -> Manifest:
        """Merge a JSON merge patch into the object or into its status."""
        kind, row = self._there(ref, status=status)
        after = fields.merge_patch(row.body, patch)
        sent = patch.get("metadata") or {}
        if isinstance(after.get("metadata"), dict):
            # Only what the patch itself says is a precondition.
            kept = {
                k: v for k, v in after["metadata"].items() if k not in {"uid", "resourceVersion"}
            }
            given = {k: v for k, v in sent.items() if k in {"uid", "resourceVersion"}}
            after["metadata"] = {**kept, **given}
        return self._write(kind, row, after, status=status)

    def replace(self, ref: Ref, manifest: Manifest, *, status: bool) -> Manifest:
        """Put the object (or its status) in place of what is there."""
        kind, row = self._there(ref, status=status)
        return self._write(kind, row, manifest, status=status)

    def delete(self, ref: Ref, *, uid: str | None, version: str | None = None) -> Manifest | None:
        """Delete the object, or mark it while finalizers hold it; None when it is not there.

        uid, version: those of the object that is meant; any other there is a Conflict.
        """
        kind_of(ref.api_version, ref.kind)
        row = self.transaction.read(ref)
        if row is None:
            return None
        there = row.body["metadata"]["uid"]
        if uid is not None and uid != there:
            raise Conflict(f"{ref} has uid {there}, not {uid}: another object of that name stays")
        now = row.body["metadata"]["resourceVersion"]
        if version is not None and version != now:
            raise Conflict(f"{ref} has been modified: it has resourceVersion {now}, not {version}")
        return self._delete(row)

    def _there(self, ref: Ref, *, status: bool) -> tuple[Kind, Row]:
        kind = kind_of(ref.api_version, ref.kind)
        if status and not kind.status:
            raise NotFound(f"{kind.plural} have no status subresource; patch the object itself")
        row = self.transaction.read(ref)
        if row is None:
            raise NotFound(f'{kind.plural} "{ref.name}" not found')
        return kind, row

    def _write(
        self,
        kind: Kind,
        row: Row,
        wanted: Manifest,
        *,
        status: bool,
        applied: tuple[str, set[fields.Path]] | None = None,
    ) -> Manifest:
        live = row.body
        after = admit(kind, objects.updated(kind, live, wanted, status=status), live, status=status)
        managed = fields.still_owned(row.managed, live, after)
        if applied is not None:
            managed[applied[0]] = applied[1]
        if after == live:
            if managed != row.managed:
                self.transaction.keep_managed(live, managed)
            return live
        generation = objects.next_generation(kind, live, after)
        if generation is not None:
            after["metadata"] = {**after["metadata"], "generation": generation}
        stored = self.transaction.update(after, managed)
        if "deletionTimestamp" in stored["metadata"] and not stored["metadata"].get("finalizers"):
            self._remove(stored)
        else:
            self._collect_unowned(stored)
        return stored

    def _delete(self, row: Row) -> Manifest:
        metadata = row.body["metadata"]
        if not metadata.get("finalizers"):
            self._remove(row.body)
            return row.body
        if "deletionTimestamp" in metadata:
            return row.body
        marked = {**metadata, "deletionTimestamp": objects.timestamp(self.now)}
        return self.transaction.update({**row.body, "metadata": marked}, row.managed)

    def _remove(self, manifest: Manifest) -> None:
        """Take an object out and, in the same transaction, what it alone owned."""
        uid = manifest["metadata"]["uid"]
        dependents = self.transaction.owned_by(uid)
        self.transaction.remove(manifest)
        for row in dependents:
            # One that another of them owned too may have gone, or changed, with that one.
            if (now := self.transaction.read(ref_of(row.body))) is not None:
                self._lose_owner(now)

    def _lose_owner(self, row: Row) -> None:
        metadata = row.body["metadata"]
        refs = [ref for ref in metadata["ownerReferences"] if self.transaction.is_there(ref["uid"])]
        if refs:
            kept = {**row.body, "metadata": {**metadata, "ownerReferences": refs}}
            self.transaction.update(kept, row.managed)
        else:
            self._delete(row)

    def _collect_unowned(self, stored: Manifest) -> None:
        """Delete an object whose owners are all gone: written late, it would stay for ever."""
        owners = objects.owner_uids(stored)
        if owners and not any(self.transaction.is_there(uid) for uid in owners):
            row = self.transaction.read(ref_of(stored))
            if row is not None:
                self._delete(row)


def kind_named(manifest: Manifest) -> Kind:
    """Return the kind of a manifest; raises Invalid when it names none."""
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise Invalid(f"apiVersion and kind must be set to text, not {api_version!r} and {kind!r}")
    return kind_of(api_version, kind)
