"""Validation of metadata with the answers of a kube-apiserver."""

import re
from collections.abc import Iterator
from typing import Any

from nexus_api.meta import Manifest
from nexus_api.problems import Problem
from nexus_api.structural import same

_GO_TYPES = {
    "name": "string",
    "generateName": "string",
    "namespace": "string",
    "selfLink": "string",
    "uid": "string",
    "resourceVersion": "string",
    "generation": "int64",
    "creationTimestamp": "string",
    "deletionTimestamp": "string",
    "deletionGracePeriodSeconds": "int64",
    "labels": "map[string]string",
    "annotations": "map[string]string",
    "ownerReferences": "[]v1.OwnerReference",
    "finalizers": "[]string",
    "managedFields": "[]v1.ManagedFieldsEntry",
}
_PYTHON_TYPES: dict[str, type] = {"string": str, "int64": int}
_OWNER_FIELDS = {"apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"}

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_ANNOTATIONS_LIMIT = 256 * 1024
_LABEL_LIMIT = 63
_SUBDOMAIN_LIMIT = 253

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    r"for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_PART_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_QUALIFIED_TEXT = (
    "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
    "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS "
    "subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def undecodable(metadata: Any) -> Iterator[Problem]:
    """Yield what keeps metadata from being read: wrong types (rule `type`), unknown fields."""
    if not isinstance(metadata, dict):
        yield _wrong_type("metadata", "", metadata, "v1.ObjectMeta")
        return
    unknown = []
    for name, value in metadata.items():
        go_type = _GO_TYPES.get(name)
        if go_type is None:
            unknown.append(f"metadata.{name}")
        elif value is not None:
            yield from _undecodable_field(name, value, go_type)
            if name == "ownerReferences" and isinstance(value, list):
                unknown += _unknown_in_owners(value)
    for path in unknown:
        yield Problem(path, None, "unknown", f'unknown field "{path}"', sort="Malformed")


def _unknown_in_owners(owners: list[Any]) -> Iterator[str]:
    for index, owner in enumerate(owners):
        for name in owner if isinstance(owner, dict) else ():
            if name not in _OWNER_FIELDS:
                yield f"metadata.ownerReferences[{index}].{name}"


def _undecodable_field(name: str, value: Any, go_type: str) -> Iterator[Problem]:
    path = f"metadata.{name}"
    if not isinstance(value, _python_type(go_type)) or isinstance(value, bool):
        yield _wrong_type(path, name, value, go_type)
        return
    texts: dict[Any, Any] = {}
    if isinstance(value, dict):
        texts = value
    elif name == "finalizers" and isinstance(value, list):
        texts = dict(enumerate(value))
    for key, text in texts.items():
        if text is not None and not isinstance(text, str):
            yield _wrong_type(f"{path}[{key}]", name, text, "string")


def _python_type(go_type: str) -> type:
    if go_type.startswith("map"):
        return dict
    return _PYTHON_TYPES.get(go_type, list)


def _wrong_type(path: str, name: str, value: Any, go_type: str) -> Problem:
    found = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
    was = found.get(type(value), "object")
    where = f"Go struct field ObjectMeta.{name}" if name else "Go value"
    message = f"json: cannot unmarshal {was} into {where} of type {go_type}"
    return Problem(path, value, "type", message, sort="Malformed", blocking=True)


def problems(metadata: Manifest) -> Iterator[Problem]:
    """Yield what is wrong with the values of metadata; the types were looked at before."""
    name = metadata.get("name") or ""
    if not name:
        yield Problem(
            "metadata.name",
            None,
            "required",
            "name or generateName is required",
            sort="Required value",
            blocking=True,
        )
    else:
        yield from _each("metadata.name", name, "name", subdomain_faults(name))
    namespace = metadata.get("namespace") or ""
    if namespace:
        faults = _form(namespace, _LABEL, _LABEL_TEXT, _LABEL_LIMIT)
        yield from _each("metadata.namespace", namespace, "namespace", faults)
    yield from _labels(metadata.get("labels") or {})
    yield from _annotations(metadata.get("annotations") or {})
    yield from _owners(metadata.get("ownerReferences") or [])
    for finalizer in metadata.get("finalizers") or []:
        yield from _each("metadata.finalizers", finalizer, "finalizer", qualified_faults(finalizer))


def changed(metadata: Manifest, old: Manifest) -> Iterator[Problem]:
    """Yield what an update may not change."""
    if old.get("deletionTimestamp"):
        before = old.get("finalizers") or []
        added = sorted(set(metadata.get("finalizers") or []) - set(before))
        if added:
            listed = ", ".join(f'"{one}"' for one in added)
            yield Problem(
                "metadata.finalizers",
                added,
                "deleting",
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}",
                sort="Forbidden",
            )
    for field in ("name", "namespace", "uid"):
        new = metadata.get(field) or ""
        if field in old and not same(new, old[field]):
            yield Problem(f"metadata.{field}", new, "immutable", "field is immutable")


def _each(path: str, value: str, rule: str, faults: Iterator[str]) -> Iterator[Problem]:
    for fault in faults:
        yield Problem(path, value, rule, fault)


def _form(text: str, form: re.Pattern[str], told: str, most: int) -> Iterator[str]:
    if len(text) > most:
        yield f"must be no more than {most} characters"
    if not form.fullmatch(text):
        yield told


def subdomain_faults(text: str) -> Iterator[str]:
    """Yield why a text is no DNS subdomain."""
    return _form(text, _SUBDOMAIN, _SUBDOMAIN_TEXT, _SUBDOMAIN_LIMIT)


def qualified_faults(text: str) -> Iterator[str]:
    """Yield why a text is no qualified name such as `example.com/name`."""
    prefix, slash, name = text.rpartition("/")
    if text.count("/") > 1:
        yield _QUALIFIED_TEXT
        return
    if slash:
        if not prefix:
            yield "prefix part must be non-empty"
        else:
            yield from (f"prefix part {fault}" for fault in subdomain_faults(prefix))
    if not name:
        yield "name part must be non-empty"
    elif len(name) > _LABEL_LIMIT:
        yield f"name part must be no more than {_LABEL_LIMIT} characters"
    if not _QUALIFIED.fullmatch(name):
        yield _NAME_PART_TEXT


def _labels(labels: dict[str, str | None]) -> Iterator[Problem]:
    for key, value in labels.items():
        yield from _each("metadata.labels", key, "label", qualified_faults(key))
        text = value or ""
        if len(text) > _LABEL_LIMIT:
            message = f"must be no more than {_LABEL_LIMIT} characters"
            yield Problem("metadata.labels", text, "label", message)
        if text and not _QUALIFIED.fullmatch(text):
            yield Problem("metadata.labels", text, "label", _LABEL_VALUE_TEXT)


def _annotations(annotations: dict[str, str | None]) -> Iterator[Problem]:
    size = 0
    for key, value in annotations.items():
        faults = qualified_faults(key.lower())
        yield from _each("metadata.annotations", key, "annotation", faults)
        size += len(key.encode()) + len((value or "").encode())
    if size > _ANNOTATIONS_LIMIT:
        yield Problem(
            "metadata.annotations",
            None,
            "size",
            f"may not be more than {_ANNOTATIONS_LIMIT} bytes",
            sort="Too long",
            blocking=True,
        )


def _owners(owners: list[Manifest]) -> Iterator[Problem]:
    for index, owner in enumerate(owners):
        for field, message in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not owner.get(field):
                yield Problem(f"metadata.ownerReferences[{index}].{field}", "", "owner", message)
