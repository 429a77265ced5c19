"""From `helm install` to `helm uninstall`, as a platform engineer and a team would go.

The tests of this module are one story and run in their order; a test that fails leaves the rest to
fail with it, since each begins where the one before ended.
"""

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas

from .installation import Installation
from .site import PLATFORM, TENANT, Site, eventually

ROOT = Path(__file__).parents[3]
KEY = f"{TENANT}/handbook/pumps/standby.pdf"
DOCUMENT = "pumps/standby.pdf"
QUESTION = "How often is the standby pump of hall seven tested?"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def pdf(*lines: str) -> bytes:
    """Return a PDF of one page with these lines."""
    body = io.BytesIO()
    page = Canvas(body, pagesize=A5)
    for number, line in enumerate(lines):
        page.drawString(40, 500 - 18 * number, line)
    page.save()
    return body.getvalue()


WEEKLY = pdf(
    "The standby pump of hall seven",
    "The standby pump of hall seven is tested every Tuesday for ten minutes.",
    "The shift leader signs the test sheet.",
)
MONTHLY = pdf(
    "The standby pump of hall seven",
    "The standby pump of hall seven is tested on the first Friday of each month.",
    "The shift leader signs the test sheet.",
)


def put(site: Site, body: bytes, key: str = KEY) -> None:
    site.store().put_object("nexus", key, io.BytesIO(body), len(body))


def cited(site: Site) -> str:
    """Return the answer to the question if it cites the document, else nothing."""
    answer, citations = site.ask(QUESTION)
    if any(one["document"] == DOCUMENT for one in citations):
        return " ".join([answer, *(one["text"] for one in citations)])
    return ""


def test_the_samples_become_ready(site: Site) -> None:
    site.kubectl("apply", "-n", TENANT, "-f", str(ROOT / "manifests" / "samples"))
    for resource in ("ragindex/handbook", "ragindex/manuals"):
        site.kubectl("wait", "-n", TENANT, resource, "--for=condition=Ready", "--timeout=240s")
    for resource in ("servingmodel/assistant", "servingmodel/technician"):
        site.kubectl("wait", "-n", TENANT, resource, "--for=condition=Ready", "--timeout=240s")


def test_kubectl_explains_and_lists_our_kinds(site: Site) -> None:
    said = site.kubectl("explain", "ragindex.spec.chunking.maxTokens")
    assert "tokens" in said.lower()
    header, *rows = site.kubectl("get", "ri,sm", "-n", TENANT).splitlines()
    assert {"NAME", "READY", "REASON", "AGE"} <= set(header.split())
    assert any(row.split()[:2] == ["ragindex.llmops.nexus/handbook", "True"] for row in rows)


def test_a_pdf_in_the_bucket_is_answered_from_with_a_citation(site: Site) -> None:
    began = time.monotonic()
    put(site, WEEKLY)
    said = eventually(lambda: cited(site), what="an answer that cites the PDF")
    assert "Tuesday" in said
    print(f"object put -> cited answer: {time.monotonic() - began:.1f} s")  # noqa: T201


def test_the_notice_came_through_argo_events(site: Site) -> None:
    """The interval of the index is five minutes: so soon, only the notice can have asked."""
    index = site.get("ragindex", "handbook")
    asked = index["metadata"]["annotations"]["llmops.nexus/sync-requested-at"]
    conditions = {one["type"]: one for one in index["status"]["conditions"]}
    assert conditions["Notified"]["status"] == "True", conditions["Notified"]
    assert index["status"]["lastSyncRequest"] == asked
    workflows = site.items(
        "workflows",
        "-n",
        PLATFORM,
        "-l",
        f"llmops.nexus/index=handbook,llmops.nexus/namespace={TENANT}",
    )
    assert workflows
    assert {one["status"]["phase"] for one in workflows} == {"Succeeded"}


def test_a_replaced_object_changes_the_answer(site: Site) -> None:
    put(site, MONTHLY)
    eventually(lambda: "first Friday" in cited(site), what="the answer from the new version")
    assert "Tuesday" not in cited(site)


def test_a_deleted_object_is_never_cited_again(site: Site) -> None:
    site.store().remove_object("nexus", KEY)
    eventually(lambda: not cited(site), what="no citation of the deleted document")
    for _ in range(5):
        assert not cited(site)


def test_kubectl_scale_adds_a_replica(site: Site) -> None:
    site.kubectl("scale", "-n", TENANT, "servingmodel/assistant", "--replicas=2")
    eventually(
        lambda: site.get("servingmodel", "assistant")["status"].get("readyReplicas") == 2,
        what="two ready replicas",
    )
    site.kubectl("scale", "-n", TENANT, "servingmodel/assistant", "--replicas=1")
    eventually(
        lambda: site.get("servingmodel", "assistant")["status"].get("replicas") == 1,
        what="one replica again",
    )


def test_a_child_deleted_by_hand_comes_back(site: Site) -> None:
    before = site.get("service", "assistant")["metadata"]["uid"]
    site.kubectl("delete", "-n", TENANT, "service/assistant")
    eventually(
        lambda: [
            one
            for one in site.items("services", "-n", TENANT)
            if one["metadata"]["name"] == "assistant" and one["metadata"]["uid"] != before
        ],
        what="the Service again",
    )


@contextmanager
def load(site: Site) -> Iterator[list[str]]:
    """Ask for embeddings and models without a pause; the failures, by what was said."""
    failures: list[str] = []
    stop = threading.Event()
    url, key = site.gateway(), site.key()

    def ask() -> None:
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
            while not stop.is_set():
                try:
                    # A new connection each time, as many users would: a rolling update must not
                    # depend on one that was opened before.
                    answer = client.get(f"{url}/v1/models", headers={"connection": "close"})
                    if answer.is_error:
                        failures.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=90)


def test_an_upgrade_fails_no_request_and_restarts_no_runtime(
    site: Site, installation: Installation
) -> None:
    pods = {one["metadata"]["uid"] for one in site.items("pods", "-n", TENANT)}
    with load(site) as failures:
        installation.upgrade({"gateway": {"env": {"NEXUS_LOG_LEVEL": "DEBUG"}}})
        site.kubectl("rollout", "status", "-n", PLATFORM, "deployment/nexus-gateway")
    assert failures == []
    assert {one["metadata"]["uid"] for one in site.items("pods", "-n", TENANT)} == pods


def test_deleted_resources_leave_nothing(site: Site) -> None:
    site.kubectl(
        "delete", "-n", TENANT, "-f", str(ROOT / "manifests" / "samples"), "--timeout=180s"
    )
    for kind in ("deployments", "services", "pods", "configmaps", "networkpolicies", "pdb", "pvc"):
        eventually(
            lambda kind=kind: (
                not site.items(kind, "-n", TENANT, "-l", "app.kubernetes.io/part-of=llmops-nexus")
            ),
            what=f"no {kind} of ours",
        )
    assert site.items("sensors,eventsources", "-n", PLATFORM) == []


def test_uninstall_keeps_the_definitions_and_leaves_nothing_else(site: Site) -> None:
    said = site.helm("uninstall", "nexus", "-n", PLATFORM, "--wait", "--timeout=180s")
    assert "kept" in said
    left = site.items(
        "deployments,jobs,configmaps,serviceaccounts,sensors,eventsources",
        "-n",
        PLATFORM,
        "-l",
        "app.kubernetes.io/instance=nexus",
    )
    assert left == []
    assert site.items("crd", "-l", "app.kubernetes.io/part-of=llmops-nexus")
