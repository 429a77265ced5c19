"""Steps from a program held ready: the same to see as cold ones, and gone with the platform.

The program is `python -m timeit -n1 -r1 CODE`, which runs code given as an argument.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from nexus_local.node import Preload

from .conftest import Site, eventually, pod, running_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    preload = Preload("timeit:main", ("json", "decimal"), after=0)
    async with running_site(tmp_path, preloads={"python": preload}) as running:
        yield running


async def run(site: Site, code: str, **spec: Any) -> dict[str, Any]:
    """One step that runs code; what is known of its end."""
    owner = await site.cluster.create(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"generateName": "w-"},
            "spec": {},
        }
    )
    uid, name = owner["metadata"]["uid"], owner["metadata"]["name"]
    container = {"name": "main", "image": "python", "args": ["-n1", "-r1", code]}
    container["env"] = [{"name": "GREETING", "value": "hello"}]  # type: ignore[assignment]
    step = pod(f"{name}-step", container, **spec)
    reference = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": name, "uid": uid}
    step["metadata"]["ownerReferences"] = [reference]
    result = await site.node.run_once(step, env_paths={})
    assert result.log_path is not None
    return {"code": result.exit_code, "reason": result.reason, "log": result.log_path.read_text()}


ABOUT = """
import json, os, sys
about = {"argv": sys.argv[:2], "env": dict(os.environ), "cwd": os.getcwd()}
about |= {"group": os.getpgid(0) == os.getpid(), "preloaded": "decimal" in sys.modules}
print(json.dumps(about | {"parent": os.getppid()}))
"""


async def about(site: Site) -> dict[str, Any]:
    ended = await run(site, ABOUT)
    assert ended["code"] == 0, ended
    return dict(json.loads(ended["log"].splitlines()[0]))


async def test_first_step_is_cold_and_the_next_one_sees_the_same_world(site: Site) -> None:
    cold, warm = await about(site), await about(site)
    assert cold["parent"] == os.getpid()
    assert warm["parent"] != os.getpid()
    assert not cold["preloaded"]
    assert warm["preloaded"]
    assert warm["group"]
    varying = {"TMPDIR", "NEXUS_POD_FOLDER"}
    for one in (cold, warm):
        assert one["env"]["NEXUS_POD_FOLDER"] == one["cwd"]
        assert one["env"]["GREETING"] == "hello"
    assert {k: v for k, v in cold["env"].items() if k not in varying} == {
        k: v for k, v in warm["env"].items() if k not in varying
    }
    assert [Path(one["argv"][0]).stem for one in (cold, warm)] == ["timeit", "timeit"]
    assert cold["argv"][1:] == warm["argv"][1:]


@pytest.mark.parametrize(
    ("code", "expected", "says"),
    [
        ("import os; os._exit(75)", 75, ""),
        ("raise ValueError('no')", 1, "ValueError: no"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
        (
            "import threading; threading.Thread(target=print, args=('from a thread',)).start()",
            0,
            "from a thread",
        ),
        ("import sys; sys.stderr.write('aside')", 0, "aside"),
    ],
)
async def test_ends_are_seen_as_those_of_any_process(
    site: Site, code: str, expected: int, says: str
) -> None:
    await run(site, "pass")
    ended = await run(site, code)
    assert ended["code"] == expected
    assert says in ended["log"]


async def test_burst_beside_each_other(site: Site) -> None:
    await run(site, "pass")
    ended = await asyncio.gather(*(run(site, f"print({number})") for number in range(12)))
    assert [one["code"] for one in ended] == [0] * 12
    assert [one["log"].splitlines()[0] for one in ended] == [str(number) for number in range(12)]


async def test_deadline_and_cancellation_end_a_warm_step(site: Site, tmp_path: Path) -> None:
    await run(site, "pass")
    ended = await run(site, "import time; time.sleep(600)", activeDeadlineSeconds=1)
    assert ended["reason"] == "DeadlineExceeded"
    noted = tmp_path / "pid"
    code = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    step = asyncio.create_task(run(site, code))
    await eventually(lambda: noted.exists() and bool(noted.read_text()))
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)
    await eventually(lambda: not psutil.pid_exists(int(noted.read_text())))  # once it is reaped


async def test_cancelled_while_it_starts(site: Site) -> None:
    await run(site, "pass")
    for turns in range(12):
        step = asyncio.create_task(run(site, "import time; time.sleep(600)"))
        for _ in range(turns * 3):
            await asyncio.sleep(0)
        step.cancel()
        await asyncio.gather(step, return_exceptions=True)
    await eventually(lambda: len(site.node.memory()) <= 1)  # the fork server


async def test_killed_fork_server_is_a_failed_step_and_the_next_one_runs(
    site: Site, tmp_path: Path
) -> None:
    await run(site, "pass")
    noted = tmp_path / "pid"
    code = f"import os, time; open({str(noted)!r}, 'w').write(str(os.getppid())); time.sleep(600)"
    step = asyncio.create_task(run(site, code))
    await eventually(lambda: noted.exists() and bool(noted.read_text()))
    os.kill(int(noted.read_text()), signal.SIGKILL)
    assert (await step)["code"] == 137
    assert (await run(site, "pass"))["code"] == 0
    assert (await about(site))["preloaded"]


async def test_memory_is_given_back_after_a_while(tmp_path: Path) -> None:
    preload = Preload("timeit:main", ("json",), after=0, idle=0.1)
    async with running_site(tmp_path, preloads={"python": preload}) as site:
        await run(site, "pass")
        await run(site, "pass")
        await eventually(lambda: not site.node.memory())
        assert (await run(site, "pass"))["code"] == 0


async def test_program_that_cannot_be_loaded_is_left_cold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    preload = Preload("timeit:main", ("no_such_module",), after=0)
    async with running_site(tmp_path, preloads={"python": preload}) as site:
        for _ in range(3):
            assert (await run(site, "pass"))["code"] == 0
        assert caplog.text.count("no_such_module cannot be imported") == 1


async def test_steps_of_no_workflow_do_not_load_it(site: Site) -> None:
    container = {"name": "main", "image": "python", "args": ["-n1", "-r1", "pass"]}
    for _ in range(2):
        result = await site.node.run_once(pod("a", container), env_paths={})
        assert result.exit_code == 0
    assert site.node.memory() == []
