"""From `helm install` to `helm uninstall`, as a platform engineer and a team would go.

The tests of this module are one story and run in their order; a test that fails leaves the rest to
fail with it, since each begins where the one before ended.
"""

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from openai import APIError
from reportlab.lib.pagesizes import A5
from reportlab.pdfgen.canvas import Canvas
from waiting import eventually

from nexus_api.meta import MODEL_LABEL

from . import holdings, notes, restoring
from .installation import Installation
from .listing import NARROW, WIDE, listed
from .site import PLATFORM, TENANT, Manifest, Site

ROOT = Path(__file__).parents[3]
KEY = f"{TENANT}/handbook/pumps/standby.pdf"
DOCUMENT = "pumps/standby.pdf"
QUESTION = "How often is the standby pump of hall seven tested?"

COMMENT = "said before the loss"
STORES = {f"nexus-{name}" for name in ("minio", "postgresql", "milvus", "mlflow", "nats")}
SECRETS = {
    *("nexus-platform", "nexus-minio", "nexus-postgresql", "nexus-bucket-events"),
    *("nexus-nats-auth", "nexus-nats-tls"),
}
OF_A_RESOURCE = (
    *("deployments", "services", "pods", "configmaps", "networkpolicies", "pdb", "pvc", "hpa"),
)
OF_THE_CHART = (
    *("deployments", "jobs", "pods", "services", "configmaps", "secrets", "serviceaccounts"),
    *("roles", "rolebindings", "networkpolicies", "poddisruptionbudgets", "leases"),
    *("persistentvolumeclaims", "horizontalpodautoscalers", "workflowtemplates", "cronworkflows"),
    *("eventbus", "sensors", "eventsources"),
)
OF_THE_CLUSTER = (
    *("clusterroles", "clusterrolebindings", "clusterworkflowtemplates"),
    *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def pdf(*lines: str) -> bytes:
    """Return a PDF of one page with these lines."""
    body = io.BytesIO()
    page = Canvas(body, pagesize=A5)
    for number, line in enumerate(lines):
        page.drawString(40, 500 - 18 * number, line)
    page.save()
    return body.getvalue()


GIANT: Manifest = {
    "apiVersion": "llmops.nexus/v1alpha1",
    "kind": "ServingModel",
    "metadata": {"name": "giant", "namespace": TENANT},
    "spec": {
        "model": {"uri": "hf://example/giant"},
        "runtime": {"engine": "vllm", "profile": "gpu"},
    },
}
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
        site.wait(resource)
    for resource in ("servingmodel/assistant", "servingmodel/technician"):
        site.wait(resource)
    # A moment later the gateway has heard of it too.
    eventually(lambda: site.ask(QUESTION), what="an answer", pause=1, despite=(APIError,))


@pytest.mark.parametrize("kind", ["ragindex", "servingmodel", "finetunejob"])
def test_kubectl_explains_our_kinds(site: Site, kind: str) -> None:
    for part in ("", ".spec", ".status"):
        said = site.kubectl("explain", kind + part)
        assert "FIELDS:" in said
        _, _, fields = said.partition("FIELDS:\n")
        told = fields if part else fields[fields.index("\n  spec\t") :]
        assert "<no description>" not in told, kind + part
    assert "tokens" in site.kubectl("explain", "ragindex.spec.chunking.maxTokens").lower()


@pytest.mark.parametrize("kind", NARROW)
def test_kubectl_lists_our_kinds(site: Site, kind: str) -> None:
    header, _ = listed(site, kind, "-n", TENANT)
    assert header == NARROW[kind]
    header, rows = listed(site, kind, "-n", TENANT, "-o", "wide")
    assert header == WIDE[kind]
    assert all(row["AGE"] for row in rows.values())

    def told() -> bool:
        _, rows = listed(site, kind, "-n", TENANT, "-o", "wide")
        cells = {
            one["metadata"]["name"]: cells_of(kind, one) for one in site.items(kind, "-n", TENANT)
        }
        return rows.keys() == cells.keys() and all(
            cells[n].items() <= rows[n].items() for n in rows
        )

    eventually(told, what="rows that say what the objects hold")


def cells_of(kind: str, one: Manifest) -> dict[str, str]:
    """Return what the columns are for that tell people most."""
    spec, status = one["spec"], one["status"]
    (ready,) = [said for said in status["conditions"] if said["type"] == "Ready"]
    cells = {"READY": ready["status"], "REASON": ready["reason"]}
    match kind:
        case "ragindexes":
            counts = {
                name: str(status["documents"][name.lower()]) for name in ("INDEXED", "FAILED")
            }
            return {**cells, **counts, "MODE": "hybrid", "COLLECTION": status["activeCollection"]}
        case "servingmodels":
            counts = {"REPLICAS": "1", "AVAILABLE": "1"}
            return {**cells, **counts, "MODEL": spec["model"]["uri"], "URL": status["url"]}
        case _:
            return {**cells, "BASE": spec["baseModel"]["uri"]}


def test_a_pdf_in_the_bucket_is_answered_from_with_a_citation(site: Site) -> None:
    began = time.monotonic()
    put(site, WEEKLY)
    said = eventually(lambda: cited(site), what="an answer that cites the PDF", seconds=600)
    assert "Tuesday" in said
    print(f"object put -> cited answer: {time.monotonic() - began:.1f} s")  # noqa: T201


def test_the_notice_came_through_argo_events(site: Site) -> None:
    """The interval of the index is five minutes: so soon, only the notice can have asked."""
    selector = f"llmops.nexus/index=handbook,llmops.nexus/namespace={TENANT}"

    def workflows() -> list[Manifest]:
        found = site.items("workflows", "-n", PLATFORM, "-l", selector)
        return found if all((one.get("status") or {}).get("finishedAt") for one in found) else []

    ended = eventually(workflows, what="the end of the syncs")
    assert {one["status"]["phase"] for one in ended} == {"Succeeded"}
    eventually(lambda: synced(site), what="the request in the status")
    site.wait("ragindex/handbook", "Notified")


def synced(site: Site) -> Manifest:
    """Return the index once its last sync is the one that the notice asked for."""
    index = site.get("ragindex", "handbook")
    asked = index["metadata"]["annotations"].get("llmops.nexus/sync-requested-at")
    return index if asked and index["status"].get("lastSyncRequest") == asked else {}


def test_a_replaced_object_changes_the_answer(site: Site) -> None:
    put(site, MONTHLY)
    eventually(
        lambda: "first Friday" in cited(site), what="the answer from the new version", seconds=600
    )
    assert "Tuesday" not in cited(site)


def test_the_command_line_speaks_to_the_cluster(site: Site) -> None:
    context = site.kubectl("config", "current-context").strip()
    nexus = ["env", f"NEXUS_API_KEY={site.key()}", sys.executable, "-m", "nexus_local"]

    def said(*words: str) -> str:
        return site.cluster.run([*nexus, *words, "--context", context], seconds=120).stdout

    assert "handbook" in said("get", "ragindexes")
    assert DOCUMENT in said("documents", "--index", "handbook")
    assert DOCUMENT in said("ask", QUESTION, "--model", "assistant")


def test_a_deleted_object_is_never_cited_again(site: Site) -> None:
    site.store().remove_object("nexus", KEY)
    eventually(lambda: not cited(site), what="no citation of the deleted document", seconds=600)
    for _ in range(5):
        assert not cited(site)


def test_the_commands_that_the_charts_print_do_as_they_say(site: Site) -> None:
    """`helm test` of both releases is among them."""
    said = notes.typed(site, "nexus-stack")
    assert said.count("condition met") == len(STORES)
    assert "Phase:          Succeeded" in said
    said = notes.typed(site, "nexus")
    assert "Phase:          Succeeded" in said
    assert "ragindex.llmops.nexus/handbook condition met" in said
    (listed_models,) = [line for line in said.splitlines() if line.startswith("{")]
    assert "assistant" in {one["id"] for one in json.loads(listed_models)["data"]}


def test_uploads_whose_notices_are_lost_are_found_by_the_interval(site: Site) -> None:
    """The upgrade below tells the store about notices again."""
    site.store().delete_bucket_notification("nexus")
    sync_every(site, "handbook", "10s")
    settled = eventually(lambda: synced(site), what="the end of the sync that was asked for")
    before = settled["metadata"]["annotations"]["llmops.nexus/sync-requested-at"]
    put(site, WEEKLY)
    eventually(lambda: "Tuesday" in cited(site), what="an answer without a notice", seconds=600)
    after = site.get("ragindex", "handbook")["metadata"]["annotations"]
    assert after["llmops.nexus/sync-requested-at"] == before


def test_an_index_reads_a_bucket_of_its_own_by_its_secret_alone(site: Site) -> None:
    """Its user may read this one bucket; the platform's own credentials are not asked."""
    store, keys = site.store(), site.bucket_user("archive")
    store.make_bucket("archive")
    note = b"# Gate nine\n\nGate nine opens at eleven.\n"
    store.put_object("archive", "notes/gate.md", io.BytesIO(note), len(note))
    source = {"bucket": "archive", "prefix": "notes/", "secretRef": {"name": "archive-keys"}}
    index = {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "RagIndex",
        "metadata": {"name": "archive", "namespace": PLATFORM},
        "spec": {"source": source},
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "archive-keys", "namespace": PLATFORM},
        "stringData": keys,
    }
    site.kubectl("apply", "-f", "-", stdin=f"{json.dumps(secret)}\n---\n{json.dumps(index)}")

    def counted() -> bool:
        status = site.get("ragindex", "archive", PLATFORM).get("status") or {}
        return bool((status.get("documents") or {}).get("indexed") == 1)

    eventually(counted, what="the document of the index's own bucket", seconds=300)
    site.kubectl("delete", "ragindex/archive", "-n", PLATFORM, "--timeout=900s")
    assert store.stat_object("archive", "notes/gate.md").size == len(note)


def test_stores_that_die_during_a_sync_lose_nothing_and_double_nothing(site: Site) -> None:
    store = site.store()
    # MinIO last: nothing is put into it while it comes back.
    for batch, part in enumerate(("nexus-milvus", "nexus-postgresql", "nexus-minio")):
        for number in range(20 * batch, 20 * batch + 20):
            text = f"# Valve {number}\n\nValve {number} closes at {number} bar.\n".encode()
            name = f"{TENANT}/handbook/many/{number:03}.md"
            store.put_object("nexus", name, io.BytesIO(text), len(text))
        eventually(lambda: indexing(site), what="a sync with documents in hand", seconds=300)
        site.kubectl("delete", "pods", "-n", PLATFORM, "--force", *pods_of(site, part))
        site.kubectl("rollout", "status", "-n", PLATFORM, f"deployment/{part}", "--timeout=900s")

    eventually(
        lambda: (
            site.get("ragindex", "handbook")["status"]["documents"]
            == {"total": 61, "indexed": 61, "pending": 0, "failed": 0}
        ),
        what="all documents, once each",
        seconds=900,
    )


def indexing(site: Site) -> bool:
    """Whether a sync of the index has found documents to index, and is not through with them."""
    found = site.items("workflows", "-n", PLATFORM, "-l", "llmops.nexus/index=handbook")
    return any(
        node.get("templateName") == "ingest" and node.get("phase") in {"Pending", "Running"}
        for one in found
        for node in ((one.get("status") or {}).get("nodes") or {}).values()
    )


def pods_of(site: Site, part: str) -> list[str]:
    """Return the names of a Deployment's pods."""
    names = [one["metadata"]["name"] for one in site.items("pods", "-n", PLATFORM)]
    return [name for name in names if name.startswith(f"{part}-")]


def test_kubectl_scale_adds_a_replica(site: Site) -> None:
    site.kubectl("scale", "-n", TENANT, "servingmodel/assistant", "--replicas=2")
    eventually(
        lambda: site.get("servingmodel", "assistant")["status"].get("readyReplicas") == 2,
        what="two ready replicas",
        seconds=600,
    )
    _, rows = listed(site, "servingmodels", "-n", TENANT)
    assert (rows["assistant"]["REPLICAS"], rows["assistant"]["AVAILABLE"]) == ("2", "2")


def test_a_drain_takes_one_replica_at_a_time(site: Site) -> None:
    """As `kubectl drain` asks; the budget allows no second while the first has no successor."""
    pods = site.items("pods", "-n", TENANT, "-l", f"{MODEL_LABEL}=assistant")
    first, second = (one["metadata"]["name"] for one in pods)
    # The budget counts the second replica a moment after the model does.
    eventually(lambda: evicted(site, first) == "", what="the eviction of one replica")
    assert "disruption budget" in evicted(site, second)
    site.kubectl("scale", "-n", TENANT, "servingmodel/assistant", "--replicas=1")
    eventually(
        lambda: site.get("servingmodel", "assistant")["status"].get("replicas") == 1,
        what="one replica again",
    )


def evicted(site: Site, pod: str) -> str:
    """Ask for the eviction of a pod; return why it was refused, nothing when it was not."""
    asked = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": TENANT},
    }
    path = f"/api/v1/namespaces/{TENANT}/pods/{pod}/eviction"
    done = site.cluster.run(
        ["kubectl", "create", "--raw", path, "-f", "-"], text=json.dumps(asked), check=False
    )
    return done.stderr if done.returncode else ""


def test_a_model_that_no_node_has_room_for_says_so(site: Site) -> None:
    """This node has no GPU; what lacks is told in the scheduler's own words."""
    site.kubectl("apply", "-f", "-", stdin=json.dumps(GIANT))
    site.wait("servingmodel/giant", "InsufficientCapacity")
    told = site.get("servingmodel", "giant")["status"]["conditions"]
    (lacks,) = [one for one in told if one["type"] == "InsufficientCapacity"]
    assert lacks["reason"] == "Unschedulable"
    assert "nvidia.com/gpu" in lacks["message"]
    site.kubectl("delete", "servingmodel/giant", "-n", TENANT, "--timeout=900s")


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
    """Ask without a pause, for models and for streamed answers; yields what went wrong."""
    failures: list[str] = []
    stop = threading.Event()
    key = site.key()

    def models(client: httpx.Client) -> None:
        # A new connection each time, as many users would: a rolling update must not depend on one
        # that was opened before.
        client.get("/v1/models", headers={"connection": "close"}).raise_for_status()

    def answers(client: httpx.Client) -> None:
        body = {
            "model": "assistant",
            "messages": [{"role": "user", "content": "Who signs the test sheet?"}],
            "stream": True,
        }
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            said = "".join(answer.iter_text())
        if "[DONE]" not in said:
            failures.append(f"a stream broke off: {said[-200:]}")

    def ask(question: Callable[[httpx.Client], None]) -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=site.gateway(), headers=headers, timeout=120) as client:
            while not stop.is_set():
                try:
                    question(client)
                except httpx.HTTPError as error:
                    failures.append(repr(error))

    threads = [threading.Thread(target=ask, args=(one,)) for one in (models, models, answers)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=150)


def running(site: Site) -> set[str]:
    """Return the runtimes' pods, without those that are being ended."""
    return {
        one["metadata"]["uid"]
        for one in site.items("pods", "-n", TENANT)
        if "deletionTimestamp" not in one["metadata"]
    }


def test_an_upgrade_fails_no_request_restarts_no_runtime_and_fills_no_index_anew(
    site: Site, installation: Installation
) -> None:
    for index in ("handbook", "manuals"):
        sync_every(site, index, "24h")  # none is due meanwhile
    eventually(lambda: at_rest(site), what="no sync under way", seconds=300)
    pods, programs, before = running(site), programs_of(site), holdings.held(site)
    assert before.rows[site.get("ragindex", "handbook")["status"]["activeCollection"]]
    assert before.versions
    with load(site) as failures:
        installation.upgrade()
        site.kubectl("rollout", "status", "-n", PLATFORM, "deployment/nexus-gateway")
    site.wait("servingmodel/assistant", "UpdateAvailable")  # the new operator has looked
    after = holdings.held(site)
    assert failures == []
    assert running(site) == pods
    # Pods that have a successor are told to end a moment after it is ready.
    eventually(lambda: not programs & programs_of(site), what="no pod of the release before")
    assert after.workflows <= before.workflows
    assert after.generations == before.generations
    assert after.versions == before.versions
    assert after.rows == before.rows
    sync_every(site, "handbook", "10s")


def sync_every(site: Site, index: str, interval: str) -> None:
    """Change how often an index looks at its bucket."""
    patch = json.dumps({"spec": {"sync": {"interval": interval}}})
    site.kubectl("patch", "-n", TENANT, f"ragindex/{index}", "--type=merge", f"--patch={patch}")


def at_rest(site: Site) -> bool:
    """Whether the operator knows the indexes as they are, and each sync has ended."""
    indexes = site.items("ragindexes", "-n", TENANT)
    known = all(
        one["status"]["observedGeneration"] == one["metadata"]["generation"] for one in indexes
    )
    flows = site.items("workflows", "-n", PLATFORM)
    return known and all((one.get("status") or {}).get("finishedAt") for one in flows)


def programs_of(site: Site) -> set[str]:
    """Return the digests of the images that the platform's own pods run."""
    pods = site.items("pods", "-n", PLATFORM, "-l", "app.kubernetes.io/instance=nexus")
    return {
        container["imageID"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for container in pod["status"].get("containerStatuses", ())
    }


def test_what_lies_in_the_stores_is_saved(site: Site, saved: Path) -> None:
    question = [{"role": "user", "content": "At how many bar does valve 7 close?"}]
    headers = {"authorization": f"Bearer {site.key()}"}
    with httpx.Client(base_url=site.gateway(), headers=headers, timeout=120) as client:
        body = {"model": "assistant", "messages": question}
        answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()["id"]

        def known() -> bool:
            said = {"response_id": answer, "rating": "up", "comment": COMMENT}
            return bool(client.post("/v1/feedback", json=said).raise_for_status().json()["known"])

        eventually(known, what="the answer in the log")
    restoring.typed(site, "Save", saved)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of the page about back-ups are typed."""
    return tmp_path_factory.mktemp("saved")


def test_deleted_resources_leave_nothing(site: Site) -> None:
    filled: dict[str, set[str]] = {"Delete": set(), "Retain": set()}
    for index in site.items("ragindexes", "-n", TENANT):
        policy = index["spec"].get("retention", {}).get("deletionPolicy", "Delete")
        filled[policy].add(index["status"]["activeCollection"])
    assert all(filled.values()), filled
    assert filled["Delete"] | filled["Retain"] <= holdings.rows(site).keys()
    retained, documents = holdings.ledger(site, "manuals"), holdings.objects(site, "nexus")
    assert retained["indexes"] == 1
    indexed = site.get("ragindex", "handbook")["status"]["documents"]["indexed"]
    assert holdings.ledger(site, "handbook")["documents"] >= indexed > 0
    site.kubectl(
        "delete", "-n", TENANT, "-f", str(ROOT / "manifests" / "samples"), "--timeout=900s"
    )
    ours = ("-n", TENANT, "-l", "app.kubernetes.io/part-of=llmops-nexus")
    runs = ("-n", PLATFORM, "-l", "workflows.argoproj.io/workflow")
    # Argo's controllers release their own a moment after the operator has deleted them, and pods
    # may take their grace.
    for kinds, where in (
        *((kind, ours) for kind in OF_A_RESOURCE),
        ("sensors,eventsources", ("-n", PLATFORM)),
        ("workflows,cronworkflows,workflowtaskresults", ("-n", PLATFORM)),
        ("pods", runs),
    ):
        eventually(
            lambda kinds=kinds, where=where: not site.items(kinds, *where),
            what=f"no {kinds} of ours",
            seconds=600,
        )
    left = holdings.rows(site).keys()
    assert not filled["Delete"] & left
    assert filled["Retain"] <= left
    assert set(holdings.ledger(site, "handbook").values()) == {0}
    assert holdings.ledger(site, "manuals") == retained
    assert holdings.objects(site, "nexus") == documents
    left_at_work = holdings.objects(site, "nexus-work")
    of_others = ("monitor/", f"counted/{TENANT}/manuals")
    assert not {key for key in left_at_work if not key.startswith(of_others)}


def test_what_was_lost_comes_back(site: Site, saved: Path) -> None:
    restoring.lose(site)
    restoring.typed(site, "Bring back", saved)
    site.wait("ragindex/handbook")
    eventually(
        lambda: (
            site.get("ragindex", "handbook")["status"].get("documents")
            == {"total": 61, "indexed": 61, "pending": 0, "failed": 0}
        ),
        what="all documents of the back-up",
        seconds=600,
    )
    kept = "SELECT count(DISTINCT comment) FROM feedback"
    assert restoring.said_by_ledger(site, f"{kept} WHERE comment = '{COMMENT}'") == "1"
    site.wait("servingmodel/assistant")
    found = eventually(
        lambda: site.ask("At how many bar does valve 7 close?"),
        what="an answer",
        despite=(APIError,),
        pause=1,
    )
    assert any(one["document"] == "many/007.md" for one in found[1])
    samples = str(ROOT / "manifests" / "samples")
    site.kubectl("delete", "-n", TENANT, "-f", samples, "--timeout=900s")


def test_uninstall_keeps_the_definitions_and_leaves_nothing_else(site: Site) -> None:
    said = site.helm("uninstall", "nexus", "-n", PLATFORM, "--wait", "--timeout=500s")
    assert "kept" in said
    ours = ("-l", "app.kubernetes.io/instance=nexus")
    eventually(
        lambda: not site.items(",".join(OF_THE_CHART), "-n", PLATFORM, *ours),
        what="nothing of ours in the namespace",
    )
    assert not site.items(",".join(OF_THE_CLUSTER), *ours)
    assert site.items("crd", "-l", "app.kubernetes.io/part-of=llmops-nexus")


def test_a_store_that_is_away_fails_helms_test(site: Site) -> None:
    site.kubectl("scale", "-n", PLATFORM, "deployment/nexus-mlflow", "--replicas=0")
    eventually(lambda: not pods_of(site, "nexus-mlflow"), what="the end of MLflow")
    command = ["helm", "test", "nexus-stack", "-n", PLATFORM, "--timeout=600s"]
    assert site.cluster.run(command, check=False, seconds=700).returncode != 0
    said = site.kubectl("logs", "-n", PLATFORM, "nexus-stack-test")
    assert "nexus-mlflow does not answer" in said
    answers = {line.split()[0] for line in said.splitlines() if line.endswith(" answers")}
    assert answers == STORES - {"nexus-mlflow"}
    site.kubectl("delete", "pod", "-n", PLATFORM, "nexus-stack-test")


def test_uninstalling_the_stores_keeps_their_volumes_and_secrets(site: Site) -> None:
    said = site.helm("uninstall", "nexus-stack", "-n", PLATFORM, "--wait", "--timeout=300s")
    assert "kept" in said
    ours = ("-n", PLATFORM, "-l", "app.kubernetes.io/instance=nexus-stack")

    def left() -> set[tuple[str, str]]:
        found = site.items(",".join(OF_THE_CHART), *ours)
        return {(one["kind"], one["metadata"]["name"]) for one in found}

    kept = {("PersistentVolumeClaim", name) for name in STORES}
    kept |= {("Secret", name) for name in SECRETS}
    eventually(lambda: left() == kept, what="nothing but volumes and Secrets")
    assert not site.items("pods,deployments,services", "-n", PLATFORM)
