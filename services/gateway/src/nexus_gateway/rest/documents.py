"""`/v1/indexes/{index}/documents`: upload, list, look at, delete, read the source."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from nexus_api.globs import selector
from nexus_api.source import PrefixOutsideNamespace
from nexus_gateway.chat.citations import document_url
from nexus_gateway.control.routes import IndexRoute
from nexus_gateway.errors import BadRequest, NotFound, TooLarge
from nexus_gateway.rest.content import content_headers, pieces
from nexus_gateway.rest.context import Editor, Reader, Shared
from nexus_gateway.rest.multipart import Upload, UploadedFile
from nexus_gateway.rest.paths import document_path, invalid_path, object_key
from nexus_knowledge.errors import ObjectNotFound
from nexus_knowledge.ids import document_id as id_of
from nexus_knowledge.ledger import Document, DocumentState, Listed

router = APIRouter(prefix="/v1/indexes/{index}/documents", tags=["documents"])
Json = dict[str, Any]

UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "prefix": {"type": "string"},
                    },
                }
            }
        },
    }
}


@router.post("", status_code=202, openapi_extra=UPLOAD_BODY)
async def upload(index: str, request: Request, services: Shared, who: Editor) -> Json:
    """Store files of the field `files`; `prefix` is a folder for them.

    All names are checked before the first file is stored.  The same path is a new version.
    """
    route = services.index(who, index)
    if route.resource.spec.source.bucket:
        raise BadRequest(
            f"index {index!r} reads a bucket of its own: put the documents there", param="index"
        )
    limit = services.settings.max_upload_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the upload has {declared} bytes; at most {limit} are accepted at a time")
    parts = Upload(request.headers.get("content-type", ""))
    try:
        try:
            await parts.read(request.stream(), limit)
        except ClientDisconnect:
            raise BadRequest("the upload was broken off") from None
        if not parts.files:
            raise BadRequest("the upload holds no file in the field `files`", param="files")
        prefix = parts.fields.get("prefix", "")
        paths = [document_path(prefix, file.name) for file in parts.files]
        _check_taken(route, paths)
        placed = [(_listed_at(route, path), f) for path, f in zip(paths, parts.files, strict=True)]
        documents = await _store_all(services, route, placed)
    finally:
        parts.close()
    return {"documents": [_brief(index, document) for document in documents]}


def _check_taken(route: IndexRoute, paths: list[str]) -> None:
    """Raise BadRequest for a path that the index leaves out: a sync would drop it."""
    source = route.resource.spec.source
    belongs = selector(source.include, source.exclude)
    for path in paths:
        if not belongs(path):
            raise invalid_path(path, f"source.include or .exclude of {route.name!r} leave it out")


def _listed_at(route: IndexRoute, path: str) -> tuple[str, str]:
    """Return path and key.  Raises BadRequest."""
    try:
        return path, object_key(route.resource.key_prefix(), path)
    except PrefixOutsideNamespace as error:
        raise BadRequest(f"index {route.name!r}: {error}", param="index") from None


async def _store_all(
    services: Shared, route: IndexRoute, placed: list[tuple[tuple[str, str], UploadedFile]]
) -> list[Document]:
    """Store files one by one, and have them synced, also those before one that fails."""
    try:
        return [await _store(services, route, *where, file) for where, file in placed]
    finally:
        services.syncs.ask(route.tenant, route.name)


async def _store(
    services: Shared, route: IndexRoute, path: str, key: str, file: UploadedFile
) -> Document:
    store, ledger = services.knowledge.store, services.knowledge.ledger

    def work() -> Document:
        info = store.put(key, file.data, size=file.size)
        listed = Listed(path, key, info.etag, info.size, info.modified)
        return ledger.register_upload(route.tenant, route.name, listed)

    document = await services.knowledge.run(work)
    services.metrics.upload_bytes.labels(route.tenant, route.name).inc(file.size)
    return document


@router.get("")
async def list_documents(
    index: str,
    services: Shared,
    who: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
    state: DocumentState | None = None,
    path: str | None = None,
) -> Json:
    """List documents by path, `limit` at a time; `path` finds one."""
    route = services.index(who, index)
    ledger = services.knowledge.ledger
    if path is not None:
        found = [await _document(services, route, id_of(route.tenant, route.name, path))]
        following = None
    else:
        page = await services.knowledge.run(
            lambda: ledger.documents(
                route.tenant, route.name, state=state, after=after, limit=limit
            )
        )
        found, following = page.documents, page.next
    counts = await services.knowledge.run(lambda: ledger.counts(route.tenant, route.name))
    return {
        "documents": [_full(index, document) for document in found],
        "next": following,
        "counts": {
            "total": counts.total,
            "indexed": counts.indexed,
            "pending": counts.pending,
            "failed": counts.failed,
        },
    }


@router.delete("")
async def delete_by_path(index: str, path: str, services: Shared, who: Editor) -> Json:
    """Delete the document of a path."""
    route = services.index(who, index)
    return await _delete(services, route, id_of(route.tenant, route.name, path))


@router.get("/{document_id}")
async def get_document(index: str, document_id: str, services: Shared, who: Reader) -> Json:
    """Return one document's state, with the reason when it failed."""
    route = services.index(who, index)
    return _full(index, await _document(services, route, document_id))


@router.delete("/{document_id}")
async def delete_document(index: str, document_id: str, services: Shared, who: Editor) -> Json:
    """Delete a document: it is never cited again once this has returned."""
    return await _delete(services, services.index(who, index), document_id)


@router.get("/{document_id}/content", response_class=StreamingResponse)
async def read_content(
    index: str, document_id: str, services: Shared, who: Reader
) -> StreamingResponse:
    """Return the source behind a citation, as it was uploaded."""
    route = services.index(who, index)
    document = await _document(services, route, document_id)
    if document.state is DocumentState.DELETING:
        raise NotFound(f"the document {document.path!r} is deleted", code="document_not_found")
    store = services.knowledge.store
    data = await services.knowledge.run(lambda: store.open(document.key))
    return StreamingResponse(
        pieces(services.knowledge, data), headers=content_headers(document.path)
    )


async def _document(services: Shared, route: IndexRoute, document_id: str) -> Document:
    ledger = services.knowledge.ledger
    return await services.knowledge.run(
        lambda: ledger.document(route.tenant, route.name, document_id)
    )


async def _delete(services: Shared, route: IndexRoute, document_id: str) -> Json:
    store, ledger = services.knowledge.store, services.knowledge.ledger
    tenant, name = route.tenant, route.name
    document = await _document(services, route, document_id)

    def work() -> Document:
        etag = modified = None
        with suppress(ObjectNotFound):
            info = store.stat(document.key)
            etag, modified = info.etag, info.modified
        deleted = ledger.delete_document(tenant, name, document_id, etag=etag, modified=modified)
        store.delete(document.key)
        ledger.object_deleted(tenant, name, document_id)
        return deleted

    try:
        return _brief(name, await services.knowledge.run(work))
    finally:
        services.syncs.ask(tenant, name)  # it ends what was cut short


def _brief(index: str, document: Document) -> Json:
    return {
        "document": document.path,
        "document_id": document.document_id,
        "state": str(document.state),
        "status_url": document_url(index, document.document_id),
    }


def _full(index: str, document: Document) -> Json:
    return {
        **_brief(index, document),
        "reason": document.reason or None,
        "message": document.message or None,
        "title": document.title or None,
        "size": document.size,
        "pages": document.pages or None,
        "chunks": document.chunks,
        "live_version": document.live_generation,
        "created_at": document.created_at,
        "updated_at": document.updated_at,
        "indexed_at": document.indexed_at,
    }
