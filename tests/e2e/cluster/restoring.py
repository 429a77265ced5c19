"""The commands of docs/how-to/backup-and-restore.md on the test cluster, as they stand there."""

from pathlib import Path

from how_to import BACKUP, NO_AWS_FILES, SHELL, commands
from minio.deleteobjects import DeleteObject

from .site import PLATFORM, Site

ROOT = Path(__file__).parents[3]
_EMPTY = """DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('TRUNCATE %I CASCADE', name);
  END LOOP;
END $$"""


def typed(site: Site, title: str, folder: Path) -> None:
    """Type the commands of one section of the page in a folder that has the charts."""
    charts = folder / "charts"
    if not charts.exists():
        charts.symlink_to(ROOT / "charts", target_is_directory=True)
    settings = [f"{name}={value}" for name, value in NO_AWS_FILES.items()]
    words = ["env", f"--chdir={folder}", *settings, *SHELL, commands(BACKUP, title)]
    site.cluster.run(words, seconds=600)


def lose(site: Site) -> None:
    """Empty what is not made again by itself: the bucket of documents, and the ledger."""
    store = site.store()
    names = [one.object_name for one in store.list_objects("nexus", recursive=True)]
    doomed = [DeleteObject(name) for name in names if name]
    assert not list(store.remove_objects("nexus", doomed))
    assert said_by_ledger(site, "SELECT count(*) FROM responses") != "0"
    said_by_ledger(site, _EMPTY)
    assert said_by_ledger(site, "SELECT count(*) FROM responses") == "0"


def said_by_ledger(site: Site, question: str) -> str:
    """Return what the ledger's database answers."""
    psql = ("psql", "--username=nexus", "--dbname=nexus", "--tuples-only", "--no-align")
    where = ("exec", "-n", PLATFORM, "deployment/nexus-postgresql", "--")
    return site.kubectl(*where, *psql, f"--command={question}").strip()
