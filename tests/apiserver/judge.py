"""Asking a real API server and our own admission about the same object, in comparable answers.

What is compared: whether the object is refused, by which status code, and for each problem its
field and its text.  Known differences, allowed here and nowhere else:

- order: problems are compared as sets;
- a CEL rule's message has the value in ours and the type of the part that has the rule (`"object"`,
  `"string"`) in the API server's;
- the API server writes the kind with its group in the first words.
"""

import re
from dataclasses import dataclass
from typing import Any

from testcluster.control_plane import ControlPlane

from nexus_api.kinds import KINDS
from nexus_api.meta import Manifest
from nexus_api.problems import CAUSES, Invalid, Malformed, Problem
from nexus_api.validation import Subresource, admit

_VALUE = re.compile(r'^Invalid value: ("(\\.|[^"\\])*"|[-+.0-9e]+|true|false): ')
_TYPES = r'"(object|string|integer|boolean|array)"'
_SERVER_OWN = {"creationTimestamp", "generation", "managedFields", "namespace", "uid"} | {
    "resourceVersion"
}


@dataclass(frozen=True)
class Verdict:
    """Code 201 with the stored object, or a refusal with what is wrong."""

    code: int
    problems: frozenset[tuple[str, str, str]] = frozenset()
    message: str = ""
    stored: Any = None


def url(kind: str) -> str:
    return f"/apis/llmops.nexus/v1alpha1/namespaces/default/{KINDS[kind].plural}"


def theirs(api: ControlPlane, kind: str, content: str | Manifest, old: str = "") -> Verdict:
    """Ask the API server, without storing anything; with `old`, the name of what is updated."""
    params = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": "test"}
    body: dict[str, Any] = (
        {"json": content}
        if isinstance(content, dict)
        else {"content": content.encode(), "headers": {"content-type": "application/yaml"}}
    )
    method, path = ("PUT", f"{url(kind)}/{old}") if old else ("POST", url(kind))
    answer = api.client.request(method, path, params=params, **body)
    said = answer.json()
    if answer.is_success:
        return Verdict(201, stored=comparable(said))
    if answer.status_code != Invalid.code:
        return Verdict(answer.status_code, message=without_order(said["message"]))
    causes = said["details"].get("causes", ())
    return Verdict(
        answer.status_code, frozenset((c["field"], c["reason"], c["message"]) for c in causes)
    )


def ours(manifest: Manifest, old: Manifest | None = None, subresource: Subresource = "") -> Verdict:
    """Ask our own admission."""
    try:
        return Verdict(201, stored=comparable(admit(manifest, old, subresource=subresource)))
    except Malformed as error:
        return Verdict(error.code, message=without_order(str(error)))
    except Invalid as error:
        return Verdict(error.code, frozenset(_cause(problem) for problem in error.problems))


def _cause(problem: Problem) -> tuple[str, str, str]:
    reason = CAUSES[problem.sort]
    if problem.rule in {"type", "format"}:
        reason = "FieldValueTypeInvalid"
    return problem.field, reason, problem.body


def agree(server: Verdict, own: Verdict) -> str:
    """Return how two verdicts differ; nothing when they agree."""
    if server.code != own.code or server.message != own.message or server.stored != own.stored:
        return f"\nserver {server}\nours   {own}"
    if {_value_free(p) for p in server.problems} == {_value_free(p) for p in own.problems}:
        plain = {p for p in server.problems if not _from_rule(p)}
        if plain <= own.problems:
            return ""
    return f"\nserver {sorted(server.problems)}\nours   {sorted(own.problems)}"


def _from_rule(problem: tuple[str, str, str]) -> bool:
    """Whether the API server shows a type where ours shows the value."""
    return " in body " not in problem[2] and bool(
        re.match(f"Invalid value: {_TYPES}: ", problem[2])
    )


def _value_free(problem: tuple[str, str, str]) -> tuple[str, str, str]:
    field, reason, text = problem
    if " in body " in text or reason != "FieldValueInvalid":
        return problem
    return field, reason, _VALUE.sub("", text)


def without_order(message: str) -> str:
    """Put the unknown fields that a message lists in order."""
    head, colon, listed = message.partition("strict decoding error: ")
    return head + colon + ", ".join(sorted(listed.split(", ")))


def comparable(stored: Manifest) -> Manifest:
    """Leave out what only a server that stores things adds."""
    metadata = {k: v for k, v in stored["metadata"].items() if k not in _SERVER_OWN}
    return {**stored, "metadata": metadata}
