"""What the platform holds: rows in Milvus and in the ledger, objects of stores, Workflows."""

import json
import sys
from dataclasses import dataclass

from .restoring import said_by_ledger
from .site import PLATFORM, TENANT, Site

OUR_KINDS = "ragindexes,servingmodels,finetunejobs"
_LIST = """
import sys
from pymilvus import MilvusClient
print(*MilvusClient(sys.argv[1], timeout=60).list_collections())
"""
_ROWS = """
import json, sys
from hashlib import sha256
from pymilvus import MilvusClient
from nexus_knowledge.vectors.rows import FIELDS
client = MilvusClient(sys.argv[1], timeout=60)
asked = {"filter": 'id != ""', "output_fields": [*FIELDS, "dense"], "limit": 16384}
found = {}
for name in client.list_collections():
    client.load_collection(name)  # not done by itself after Milvus was away
    rows = client.query(name, **asked, consistency_level="Strong")
    held = {row["id"]: repr(sorted(row.items())) for row in rows}
    found[name] = {row: sha256(text.encode()).hexdigest() for row, text in held.items()}
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Held:
    """What no upgrade may change."""

    rows: dict[str, dict[str, str]]
    versions: list[str]
    generations: dict[str, int]
    workflows: set[str]


def held(site: Site) -> Held:
    """Return what Milvus, the ledger and the cluster hold at this moment."""
    return Held(rows(site), versions(site), generations(site), workflows(site))


def rows(site: Site) -> dict[str, dict[str, str]]:
    """Return for each collection of Milvus what its rows hold, vectors too, as hashes by id."""
    found: dict[str, dict[str, str]] = json.loads(_said_by_milvus(site, _ROWS))
    return found


def collections(site: Site) -> set[str]:
    """Return the names of Milvus' collections."""
    return set(_said_by_milvus(site, _LIST).split())


def _said_by_milvus(site: Site, program: str) -> str:
    """Run a program on Milvus' address, and return what it prints.

    A process of its own asks: threads that gRPC has from earlier tests are in another network.
    """
    command = [sys.executable, "-c", program, f"http://{site.address('nexus-milvus')}"]
    return site.cluster.run(command, seconds=120).stdout


def versions(site: Site) -> list[str]:
    """Return the ledger's rows of every version of a document, with when it was indexed."""
    question = (
        "SELECT i.name, d.path, d.indexed_at, v.generation, v.state, v.collection, v.attempt "
        "FROM versions v JOIN documents d USING (document_id) JOIN indexes i ON d.index_id = i.id "
        "ORDER BY d.document_id, v.generation"
    )
    return said_by_ledger(site, question).splitlines()


def documents(site: Site, namespace: str) -> dict[str, str]:
    """Return when each document that may be cited was indexed, by index and path."""
    columns = "indexes.name || '/' || path, indexed_at"
    joined = "documents JOIN indexes ON indexes.id = index_id"
    which = f"live_generation IS NOT NULL AND tenant = '{namespace}'"
    asked = f"SELECT {columns} FROM {joined} WHERE {which}"  # noqa: S608 - names of tests
    rows = said_by_ledger(site, asked).splitlines()
    return dict(row.split("|", 1) for row in rows)  # type: ignore[misc]  # two columns, as asked


def ledger(site: Site, index: str) -> dict[str, int]:
    """Return how many rows each table of the ledger has of one index of the tenant."""
    one = f"SELECT id FROM indexes WHERE tenant = '{TENANT}' AND name = '{index}'"  # noqa: S608
    mine = f"index_id IN ({one})"
    tables = {"indexes": mine.removeprefix("index_")}
    tables |= dict.fromkeys(("documents", "versions", "garbage"), mine)
    counts = " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM {table} WHERE {whose}"  # noqa: S608 - names of our own
        for table, whose in tables.items()
    )
    said = (line.split("|") for line in said_by_ledger(site, counts).splitlines())
    return {table: int(count) for table, count in said}


def objects(site: Site, bucket: str) -> set[str]:
    """Return the keys of a bucket."""
    listed = site.store().list_objects(bucket, recursive=True)
    return {one.object_name for one in listed if one.object_name}


def generations(site: Site) -> dict[str, int]:
    """Return the generation of each object of ours, in all namespaces: it counts changed specs."""
    found = (one["metadata"] for one in site.items(OUR_KINDS, "--all-namespaces"))
    return {meta["uid"]: meta["generation"] for meta in found}


def workflows(site: Site) -> set[str]:
    """Return the names of all Workflows."""
    return {one["metadata"]["name"] for one in site.items("workflows", "-n", PLATFORM)}
