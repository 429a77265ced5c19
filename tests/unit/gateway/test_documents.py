"""Uploads, lists, deletions and sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import pytest
from gateway_world import World, gateway_world

from nexus_knowledge.errors import StoreUnavailable
from nexus_knowledge.objects import ObjectInfo

DOCUMENTS = "/v1/indexes/handbook/documents"
RESOURCE = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes/handbook"
NAMES = [
    "plain.txt",
    "a/b c.pdf",
    "Grüße 世界.md",
    "-rf.txt",
    'quo"te.txt',
    "line\nbreak.txt",
    "semi;colon=.txt",
    "per%cent.txt",
    "back\\slash.txt",
    "apos'trophe.txt",
    "$(touch x).txt",
    "..hidden",
]


@pytest.fixture
async def index(world: World) -> World:
    await world.serve_index()
    return world


async def send(world: World, files: dict[str, bytes], **fields: str) -> httpx.Response:
    parts = [("files", (name, data)) for name, data in files.items()]
    return await world.http.post(DOCUMENTS, files=parts, data=fields)


async def synced(world: World, times: int) -> None:
    """Wait until the index has been asked for so many syncs."""
    await world.until(lambda: len(world.control.server.seen(RESOURCE, "PATCH")) >= times)


async def test_upload_is_202_and_seen_at_once(index: World) -> None:
    response = await send(index, {"pump.txt": b"The pump."})
    assert response.status_code == 202
    (document,) = response.json()["documents"]
    assert (document["document"], document["state"]) == ("pump.txt", "pending")
    status = (await index.http.get(document["status_url"])).json()
    assert (status["state"], status["size"], status["live_version"]) == ("pending", 9, None)
    listed = (await index.http.get(DOCUMENTS)).json()
    assert listed["counts"] == {"total": 1, "indexed": 0, "pending": 1, "failed": 0}
    assert listed["next"] is None
    content = await index.http.get(document["status_url"] + "/content")
    assert content.content == b"The pump."
    assert (index.bucket / "default" / "handbook" / "pump.txt").read_bytes() == b"The pump."
    await synced(index, 1)
    annotations = index.control.server.seen(RESOURCE, "PATCH")[0].json()["metadata"]["annotations"]
    assert "llmops.nexus/sync-requested-at" in annotations


async def test_many_uploads_ask_for_one_sync(index: World) -> None:
    for number in range(5):
        await send(index, {f"{number}.txt": b"x"})
    patch = "/apis/llmops.nexus/v1alpha1/namespaces/default/ragindexes/handbook"
    await index.until(lambda: bool(index.control.server.seen(patch, "PATCH")))
    await index.services.syncs.stop()
    assert len(index.control.server.seen(patch, "PATCH")) <= 2


@pytest.mark.parametrize("name", NAMES)
async def test_any_name_is_kept_as_it_is(index: World, name: str) -> None:
    (document,) = (await send(index, {name: b"data"})).json()["documents"]
    assert document["document"] == name
    found = (await index.http.get(DOCUMENTS, params={"path": name})).json()["documents"]
    assert [d["document_id"] for d in found] == [document["document_id"]]
    content = await index.http.get(document["status_url"] + "/content")
    assert content.content == b"data"
    assert "\n" not in content.headers["content-disposition"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "a//b", "./a", "a/..", "nul\0", "x" * 2000]
)
async def test_names_that_could_leave_the_index_are_400(index: World, name: str) -> None:
    response = await send(index, {"good.txt": b"x", name: b"y"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_path"
    assert repr(name[:20])[1:-1] in error["message"]
    assert list(index.bucket.rglob("*.txt")) == []
    assert (await index.http.get(DOCUMENTS)).json()["documents"] == []


async def test_prefix_is_a_folder_and_checked_too(index: World) -> None:
    (document,) = (await send(index, {"a.txt": b"x"}, prefix="north/2")).json()["documents"]
    assert document["document"] == "north/2/a.txt"
    assert (await send(index, {"a.txt": b"x"}, prefix="../../other")).status_code == 400


async def test_filename_in_rfc_5987_form_is_read(index: World) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="files"; filename="x";'
        b" filename*=utf-8''na%C3%AFve%20plan.txt\r\n\r\nhello\r\n--B--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=B"}
    response = await index.http.post(DOCUMENTS, content=body, headers=headers)
    assert response.json()["documents"][0]["document"] == "naïve plan.txt"


async def test_oversize_upload_is_413_while_it_streams(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--B\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'
        while True:
            sent += 65_536
            yield b"x" * 65_536

    async with gateway_world(tmp_path, max_upload_bytes=1_000_000) as world:
        await world.serve_index()
        headers = {"content-type": "multipart/form-data; boundary=B"}
        try:
            response = await world.http.post(DOCUMENTS, content=endless(), headers=headers)
            assert response.status_code == 413
            assert "1000000 bytes" in response.json()["error"]["message"]
        except (httpx.WriteError, httpx.ReadError):
            pass  # the connection was closed while we still wrote: as good
        assert sent < 100_000_000
        declared = await send(world, {"big.bin": b"x" * 1_000_001})
        assert declared.status_code == 413
        assert not (world.bucket / "default").exists()


FORM = "multipart/form-data; boundary=B"
PART = b"--B\r\nContent-Disposition: form-data; "


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        (FORM, b"nonsense"),
        (FORM, b"--B\r\n"),
        (FORM, b"--B--\r\n"),
        (FORM, PART + b'name="other"; filename="a"\r\n\r\nx\r\n--B--\r\n'),
        (FORM, PART + b'name="files"; filename="\xff"\r\n\r\nx\r\n--B--\r\n'),
    ],
)
async def test_malformed_uploads_are_400(index: World, content_type: str, body: bytes) -> None:
    headers = {"content-type": content_type}
    response = await index.http.post(DOCUMENTS, content=body, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["message"]


async def test_fields_of_an_upload_are_few(index: World) -> None:
    fields = {f"field-{number}": "x" for number in range(1000)}
    response = await send(index, {"a.txt": b"x"}, **fields)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_multipart")


async def test_files_stored_before_one_that_is_not_are_synced(index: World) -> None:
    store = index.services.knowledge.store
    put = store.put

    def full(key: str, data: BinaryIO, *, size: int | None = None) -> ObjectInfo:
        if key.endswith("b.txt"):
            raise StoreUnavailable("the disk is full")
        return put(key, data, size=size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put", full)
        response = await send(index, {"a.txt": b"x", "b.txt": b"y"})
    assert response.status_code == 503
    assert (await index.http.get(DOCUMENTS, params={"path": "a.txt"})).status_code == 200
    await synced(index, 1)


async def test_index_outside_its_namespace_takes_no_uploads(world: World) -> None:
    await world.serve_index(source={"prefix": "another/"})
    response = await send(world, {"a.txt": b"x"})
    assert response.status_code == 400
    assert "another/" in response.json()["error"]["message"]
    assert not (world.bucket / "another").exists()


@pytest.mark.parametrize("source", [{"exclude": ["drafts/**"]}, {"include": ["*.pdf"]}])
async def test_what_the_index_leaves_out_is_400_and_nothing_is_stored(
    world: World, source: dict[str, Any]
) -> None:
    await world.serve_index(source=source)
    response = await send(world, {"a.pdf": b"x", "b.txt": b"y"}, prefix="drafts")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_path"
    assert "exclude" in response.json()["error"]["message"]
    assert not [one for one in world.bucket.rglob("*") if one.is_file()]
    if "include" in source:
        assert (await send(world, {"a.pdf": b"x"}, prefix="drafts")).status_code == 202


async def test_same_path_is_a_new_version(index: World) -> None:
    (first,) = (await send(index, {"a.txt": b"one"})).json()["documents"]
    (second,) = (await send(index, {"a.txt": b"three"})).json()["documents"]
    assert first["document_id"] == second["document_id"]
    assert (await index.http.get(second["status_url"])).json()["size"] == 5


@pytest.mark.parametrize("by", ["id", "path"])
async def test_deleted_document_is_gone_from_the_call_on(index: World, by: str) -> None:
    (document,) = (await send(index, {"a.txt": b"one"})).json()["documents"]
    if by == "id":
        response = await index.http.delete(document["status_url"])
    else:
        response = await index.http.delete(DOCUMENTS, params={"path": "a.txt"})
    assert response.status_code == 200
    assert not (index.bucket / "default" / "handbook" / "a.txt").exists()
    content = await index.http.get(document["status_url"] + "/content")
    assert content.status_code == 404
    missing = await index.http.delete(f"{DOCUMENTS}/nothing")
    assert missing.status_code == 404


async def test_deletion_that_is_cut_short_is_ended_by_a_sync(index: World) -> None:
    (document,) = (await send(index, {"a.txt": b"one"})).json()["documents"]
    await synced(index, 1)

    def away(_key: str) -> None:
        raise StoreUnavailable("the store is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index.services.knowledge.store, "delete", away)
        response = await index.http.delete(document["status_url"])
    assert response.status_code == 503
    shown = (await index.http.get(document["status_url"])).json()
    assert shown["state"] == "deleting"
    await synced(index, 2)


async def test_list_pages_and_filters(index: World) -> None:
    await send(index, {f"{n}.txt": b"x" for n in range(5)})
    first = (await index.http.get(DOCUMENTS, params={"limit": 2})).json()
    assert [d["document"] for d in first["documents"]] == ["0.txt", "1.txt"]
    rest = (await index.http.get(DOCUMENTS, params={"limit": 9, "after": first["next"]})).json()
    assert [d["document"] for d in rest["documents"]] == ["2.txt", "3.txt", "4.txt"]
    failed = (await index.http.get(DOCUMENTS, params={"state": "failed"})).json()
    assert failed["documents"] == []
    for bad in ({"limit": 0}, {"state": "odd"}):
        assert (await index.http.get(DOCUMENTS, params=bad)).status_code == 400


async def test_source_can_never_run_in_the_browser(index: World) -> None:
    files = {"a.html": b"<script>alert(1)</script>", "b.svg": b"<svg/>", "c.pdf": b"%PDF-"}
    kinds: dict[str, Any] = {}
    for document in (await send(index, files)).json()["documents"]:
        content = await index.http.get(document["status_url"] + "/content")
        kinds[document["document"]] = content.headers
        assert content.headers["x-content-type-options"] == "nosniff"
    assert kinds["a.html"]["content-type"] == "text/plain; charset=utf-8"
    assert kinds["b.svg"]["content-disposition"].startswith("attachment")
    assert kinds["c.pdf"]["content-type"] == "application/pdf"
    assert "sandbox" in kinds["a.html"]["content-security-policy"]


async def test_index_with_a_bucket_of_its_own_takes_no_uploads(world: World) -> None:
    source = {"bucket": "theirs", "secretRef": {"name": "s"}}
    await world.serve_index(source=source)
    assert (await send(world, {"a": b"x"})).status_code == 400


async def test_unknown_index_is_404(world: World) -> None:
    response = await world.http.get("/v1/indexes/nothing/documents")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "index_not_found"
