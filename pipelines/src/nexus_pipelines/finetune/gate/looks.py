"""How often a golden set was looked at, by whom, and what part of alpha each look spent.

One object for each run lies under `gates/<golden digest>/<namespace>.<job>.<run>.json` in the work
store: looks of all jobs of a namespace on one golden set share its alpha.  A look is booked with
its full level before anything is tested, and corrected when the decision is made.  So a step that
is killed between has spent, and two gates that run at once count each other.
"""

import io
import json
from typing import Annotated, Any

from pydantic import Field

from nexus_evaluation.records import Record
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.objects import ObjectStore
from nexus_pipelines.errors import StepError
from nexus_pipelines.finetune.arguments import JobKey

_ROOT = "gates/"


class LooksUnreadable(StepError):
    """What earlier gates spent cannot be read, so no level can be given to this one."""


Spent = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Look(Record):
    """One decision of a run: the digest of what it stood on, and what it spent."""

    inputs: str
    spent: Spent
    before: Spent | None = None
    """Spent by others and by earlier looks of this run; None until it is counted."""


class Looks:
    """The looks of one run on one golden set, among those of its namespace."""

    def __init__(self, store: ObjectStore, key: JobKey, run: str, golden_digest: str) -> None:
        self._store = store
        # A namespace has no dot, so its prefix is no other namespace's.
        self._prefix = f"{_ROOT}{golden_digest.removeprefix('sha256:')}/{key.tenant}."
        self._key = f"{self._prefix}{key.name}.{run}.json"

    def book(self, inputs: str, level: float) -> float:
        """Book a look at its full level and give what was spent before it.

        The same look again gives the same figure, whatever others have spent since.

        Raises:
            LooksUnreadable: an object among them is none of ours.
        """
        looks = self._own()
        found = next((look for look in looks if look.inputs == inputs), None)
        if found is None:
            found = Look(inputs=inputs, spent=level)
            looks.append(found)
            # Before the others are read: of two at once, at least one then sees the other.
            self._write(looks)
        if found.before is None:
            own = [look.spent for look in looks if look.inputs != inputs]
            before = sum(sorted([*self._others(), *own]))
            self._replace(looks, found.model_copy(update={"before": before}))
            return before
        return found.before

    def settle(self, inputs: str, spent: float) -> None:
        """Write what a booked look spent in the end."""
        looks = self._own()
        booked = next(look for look in looks if look.inputs == inputs)
        self._replace(looks, booked.model_copy(update={"spent": spent}))

    def _replace(self, looks: list[Look], changed: Look) -> None:
        self._write([changed if look.inputs == changed.inputs else look for look in looks])

    def _others(self) -> list[float]:
        keys = [found.key for found in self._store.list(self._prefix) if found.key != self._key]
        return [look.spent for key in keys for look in self._read(key)]

    def _own(self) -> list[Look]:
        return self._read(self._key)

    def _read(self, key: str) -> list[Look]:
        try:
            with self._store.open(key) as stream:
                value: Any = json.load(stream)
            return [Look.model_validate(look) for look in value["looks"]]
        except ObjectNotFound:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise LooksUnreadable(
                f"{key} in the work store is not what a gate writes there: {error}; without it "
                "nobody knows how often this golden set has decided. Restore it, or use a new "
                "version of the golden set"
            ) from error

    def _write(self, looks: list[Look]) -> None:
        value = {"looks": [look.model_dump(mode="json", by_alias=True) for look in looks]}
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        self._store.put(self._key, io.BytesIO(data), size=len(data))
