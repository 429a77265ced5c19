"""A FineTuneJob on a real cluster: Argo runs every step, MLflow has the version, a model serves it.

One story, as in test_main_path: each test begins where the one before ended.  The language model
has two layers and was made here; all else is what a release has.
"""

import json
import time
from pathlib import Path
from statistics import quantiles

import httpx
import pytest
from tiny_model import tiny_gguf, tiny_model
from waiting import eventually

from nexus_api.meta import PROMOTION_BLOCKED

from . import alerting, comparing, draining, drifting, hotloading, judging, outage
from .finetuning import (
    RUN_SECONDS,
    Answer,
    annotate,
    answer,
    answered,
    apply,
    champion,
    condition,
    failures,
    given,
    lines,
    mlflow,
    nexus,
    pods,
    put,
    releases,
    run_of,
    runs_by,
    status,
)
from .site import PLATFORM, TENANT, Manifest, Site
from .tuning import (
    BASE,
    BETTER,
    EXAMPLES,
    FRESH,
    FRESH_ROWS,
    GOLDEN,
    MODEL,
    RIDDLES,
    access,
    by_itself,
    examples,
    golden,
    job,
    serving,
    slowly,
    watching,
)

STEPS = {"select", "validate", "train", "evaluate", "gate", "register"}
# One thread for what trains: on cores that others are busy on, threads wait for each other.
EXTRA = {**judging.VARIABLES, "OMP_NUM_THREADS": "1"}
# As shipped: a volume for each pod.  Models come from the bucket here, none lies there before.
CACHE = {"mode": "ephemeral", "size": "1Gi", "credentialsSecret": "nexus-models"}
PLATFORM_VALUES = {**alerting.VALUES, "platform": {"extra": EXTRA}, "modelCache": CACHE}
RATED_BAD = {"alertname": alerting.RATED_BAD, "tenant": TENANT, "model": "technician"}
RATINGS = ("up", *["down"] * 23)
STOP = "drift: set while the run goes on"
REPEATS = 50
PROBES = [f"probe-{number:02d}" for number in range(20)]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]


def test_a_model_answers_before_anything_was_tuned(site: Site, tmp_path: Path) -> None:
    weights = tiny_model(tmp_path / "model")
    put(site, BASE, tiny_gguf(weights, tmp_path / "tiny.gguf").read_bytes())
    hotloading.put_weights(site, weights)
    apply(site, access(site), serving(), hotloading.serving(), *judging.judge(site))
    for model in ("technician", hotloading.NAME):
        site.wait(f"sm/{model}")
        assert answered(site, model)
        refused = answer(site, f"{model}:tuned")
        assert refused.status == httpx.codes.SERVICE_UNAVAILABLE, refused


def test_argo_runs_every_step_to_a_version(site: Site) -> None:
    """MLflow is away when it is time to register.  Beside it, for a test below, a judge fails."""
    put(site, EXAMPLES, lines(examples()))
    put(site, GOLDEN, lines(golden()))
    put(site, RIDDLES, lines(judging.riddles(golden())))
    began = time.monotonic()
    tuning = by_itself(job(seed=0, judged=True))
    apply(site, tuning, judging.misjudged(tuning, f"s3://nexus/{RIDDLES}"))
    eventually(lambda: outage.training(site), what="a run that trains", seconds=RUN_SECONDS)
    with outage.without_mlflow(site):
        missed = outage.first_missed(site)
    assert "MLflow at" in missed["message"]
    back = time.monotonic()
    flow = run_of(site, "1")
    print(  # noqa: T201
        f"job applied -> version registered: {time.monotonic() - began:.0f} s, of these "
        f"{time.monotonic() - back:.0f} s since MLflow is reached again"
    )
    assert {node["displayName"].partition("(")[0] for node in pods(flow, "Succeeded")} == STEPS
    told = status(site)
    assert told["lastDecision"]["verdict"] == "Promote"
    assert told["lastDecision"]["reason"] == "Better"
    assert float(told["lastDecision"]["lower"]) > 0
    assert float(told["bestMetrics"]["contextPrecision"]) == pytest.approx(1)
    assert 0.5 <= float(told["bestMetrics"]["faithfulness"]) <= 2 / 3 + 1e-5


def test_what_passes_the_gate_is_released_by_nobody(site: Site) -> None:
    told = eventually(lambda: champion(site, "1"), what="a champion", seconds=RUN_SECONDS)
    (move,) = runs_by(site, "nexus-release")
    asked = given(move)
    assert (asked["by"], asked["version"]) == ("gate", "1")
    assert asked["request"] == f"gate:{told['lastDecision']['run']}"
    assert told["champion"]["run"] == move["metadata"]["name"]
    awaiting = eventually(lambda: condition(site, "AwaitingApproval"), what="the release's end")
    assert (awaiting["status"], awaiting["reason"]) == ("False", "Released")


def test_mlflow_has_the_run_and_the_version_once(site: Site) -> None:
    """Of the run that found no MLflow at first."""
    (found,) = outage.versions(site)
    assert found["version"] == "1"
    assert found["source"].startswith(f"s3://nexus-models/{TENANT}/tuning/")
    (run,) = outage.tracked(site)
    assert run["info"]["run_id"] == found["run_id"]
    assert run["info"]["status"] == "FINISHED"
    name = run["info"]["run_name"]
    assert [name] == [one["metadata"]["name"] for one in runs_by(site, "nexus-finetune")]
    (digest,) = (one["value"] for one in found["tags"] if one["key"] == "nexus.adapter")
    assert outage.evaluated_digest(site, name) == digest
    assert outage.stored_digest(site, found["source"]) == digest
    metrics = {one["key"] for one in run["data"]["metrics"]}
    assert {"train.loss", "candidate.f1"} <= metrics
    bucket, _, prefix = found["source"].removeprefix("s3://").partition("/")
    objects = site.store().list_objects(bucket, prefix=prefix.rstrip("/") + "/")
    names = {(one.object_name or "").rpartition("/")[2] for one in objects}
    assert {
        "unit.json",
        "adapter_model.safetensors",
        "adapter.gguf",
        "model-card.md",
    } <= names


def test_the_gateway_shows_the_report_of_the_decision(site: Site) -> None:
    path = status(site)["lastDecision"]["report"]
    with httpx.Client(base_url=site.gateway(), timeout=60) as http:
        assert http.get(path).status_code == httpx.codes.UNAUTHORIZED
        http.headers["authorization"] = f"Bearer {site.key()}"
        page = http.get(path).raise_for_status()
        assert "contextPrecision" in page.text
        assert "sandbox" in page.headers["content-security-policy"]
        listed = http.get("/v1/reports").raise_for_status().json()["reports"]
    assert [one["url"] for one in listed] == [path]
    assert "Promote 1" in nexus(site, "runs", "finetunejob/tuning")


def test_promotions_are_stopped_while_another_run_goes_on(site: Site) -> None:
    """As the monitor does it; what becomes of the run's version is looked at below."""
    put(site, EXAMPLES, lines(examples(BETTER)))
    apply(site, by_itself(job(seed=1)))
    flow = eventually(lambda: runs_by(site, "nexus-finetune")[1:], what="another run")[0]
    assert given(flow)["blocked"] == ""
    annotate(site, f"{PROMOTION_BLOCKED}={STOP}")
    going = site.get("workflow", flow["metadata"]["name"], PLATFORM)
    assert not (going.get("status") or {}).get("finishedAt")


@pytest.fixture(scope="module")
def seen() -> dict[str, Answer]:
    """What the model answered, by version; as `plain` without an adapter."""
    return {}


def test_the_model_rolls_to_the_champion(site: Site, seen: dict[str, Answer]) -> None:
    plain = seen["plain"] = answered(site, "technician")
    first = seen["1"] = answered(site, "technician:tuned")
    assert first != plain
    (adapter,) = site.get("servingmodel", "technician")["status"]["adapters"]
    assert adapter["version"] == "1"


def test_a_judge_that_fails_ends_its_run_and_nothing_is_registered(site: Site) -> None:
    """It is down at first, so the step is tried again; then it babbles, which no retry mends."""

    def ended() -> Manifest:
        told = status(site, judging.MISJUDGED)
        last = told.get("lastRun") or {}
        assert last.get("phase") != "Succeeded", told
        return told if last.get("phase") in {"Failed", "Error"} else {}

    told = eventually(ended, what="the end of a run", seconds=RUN_SECONDS)
    said = condition(site, "LastRunSucceeded", judging.MISJUDGED)
    assert said["status"] == "False"
    assert "evaluate" in said["message"]
    assert "NEXUS_JUDGE_MODEL" in said["message"]
    (flow,) = alerting.runs_of(site, judging.MISJUDGED)  # and no release
    failed = pods(flow, "Failed")
    assert [node["displayName"] for node in failed] == ["evaluate(0)", "evaluate(1)"]
    assert [node["outputs"]["exitCode"] for node in failed] == ["75", "1"]
    done = [node["displayName"].partition("(")[0] for node in pods(flow, "Succeeded")]
    assert done == ["select", "validate", "train"]
    assert not {"lastDecision", "registeredVersion", "champion"} & set(told)
    models = mlflow(site, "registered-models/search")["registered_models"]
    assert [one["name"] for one in models] == [MODEL]


def test_what_met_the_stop_waits_for_a_person(site: Site) -> None:
    """It is better than the champion, and the gate said so."""
    flow = run_of(site, "2")
    verdicts = [
        one["value"]
        for node in pods(flow, "Succeeded")
        for one in (node.get("outputs") or {}).get("parameters") or ()
        if one["name"] == "verdict"
    ]
    assert verdicts == ["Promote"]
    told = status(site)
    decided = told["lastDecision"]
    assert (decided["verdict"], decided["reason"]) == ("AskPerson", "DriftTooLarge")
    assert STOP in decided["message"]
    assert condition(site, "AwaitingApproval")["status"] == "True"
    annotate(site, f"{PROMOTION_BLOCKED}-")  # its version waits all the same


def test_promoted_versions_answer(site: Site, seen: dict[str, Answer]) -> None:
    assert champion(site, "1")
    nexus(site, "promote", "tuning", "--version", "2", "--by", "Ada {{x}}")
    told = eventually(lambda: champion(site, "2"), what="another champion", seconds=RUN_SECONDS)
    assert told["previous"]["version"] == "1"
    assert releases(site) == [("gate", "1"), ("Ada ((x))", "2")]
    seen["2"] = eventually(
        lambda: (told := answer(site, "technician:tuned")) and told != seen["1"] and told,
        what="the other answer",
        pause=1,
    )


def test_a_restored_job_finds_its_champion_and_runs_nothing(
    site: Site, seen: dict[str, Answer]
) -> None:
    """A back-up keeps spec, labels and annotations, among them what Ada asked for."""
    saved = site.get("finetunejob", "tuning")
    site.kubectl("delete", "finetunejob", "tuning", "-n", TENANT)
    kept = {name: saved["metadata"][name] for name in ("name", "namespace", "annotations")}
    apply(
        site, {**{name: saved[name] for name in ("apiVersion", "kind", "spec")}, "metadata": kept}
    )
    told = eventually(lambda: champion(site, "2"), what="the champion", seconds=RUN_SECONDS)
    assert told["previous"]["version"] == "1"
    assert told["lineage"] == saved["metadata"]["uid"]
    eventually(lambda: condition(site, "Running").get("reason") == "Idle", what="nothing to run")
    (flow,) = alerting.runs_of(site, "tuning")
    assert given(flow)["action"] == "recover"
    eventually(
        lambda: answer(site, "technician:tuned") == seen["2"], what="the champion's answer", pause=1
    )


def test_a_rollback_brings_the_old_answers(site: Site, seen: dict[str, Answer]) -> None:
    """In a new process of llama.cpp, and loaded into the vLLM that serves."""
    newer = eventually(lambda: hotloading.served(site, "2"), what="version 2 in vLLM", pause=1)
    before, processes = status(site), hotloading.processes(site)
    with hotloading.asking(site) as asked:
        nexus(site, "rollback", "tuning", "--by", "Ada")
        eventually(lambda: champion(site, "1"), what="the version before", seconds=RUN_SECONDS)
        began = time.monotonic()
        older = eventually(lambda: hotloading.served(site, "1"), what="version 1 in vLLM", pause=1)
        loaded = time.monotonic() - began
        eventually(lambda: asked.answers[-1][0] == older, what="an answer by version 1")
    print(f"released -> served by vLLM: {loaded:.0f} s, {len(asked.answers)} answered")  # noqa: T201
    assert asked.failed == []
    releases = {newer: before["champion"]["uri"], older: status(site)["champion"]["uri"]}
    assert set(asked.answers) == {
        (name, hotloading.digest_of(site, uri)) for name, uri in releases.items()
    }
    assert hotloading.processes(site) == processes, "a new process came for a new version"
    eventually(
        lambda: answer(site, "technician:tuned") == seen["1"], what="the old answer", pause=1
    )
    assert answered(site, "technician") == seen["plain"]
    aliases = mlflow(site, "registered-models/get", name=MODEL)["registered_model"]["aliases"]
    assert {"alias": "champion", "version": "1"} in aliases


def test_enough_new_examples_start_a_run_and_fewer_none(site: Site) -> None:
    """Counted by Argo; what becomes of the run is looked at below."""
    began = time.monotonic()
    put(site, f"{FRESH_ROWS}a.jsonl", lines(examples()[:4]))
    apply(site, watching("10s"))
    eventually(lambda: newly_found(site) == 4, what="the first count", seconds=600)
    assert runs_by(site, "nexus-finetune", FRESH) == []
    put(site, f"{FRESH_ROWS}b.jsonl", lines(examples()[3:6]))  # one of them is said in a.jsonl
    flow = eventually(lambda: runs_by(site, "nexus-finetune", FRESH), what="a run", seconds=600)[0]
    apply(site, watching("1h"))  # after the run, once
    assert flow["metadata"]["annotations"]["llmops.nexus/cause"] == "NewData"
    print(f"fewer counted, enough counted, run: {time.monotonic() - began:.0f} s")  # noqa: T201


def test_a_correction_becomes_an_item_of_a_golden_set(site: Site) -> None:
    (flow,) = alerting.runs_of(site, "tuning")[:1]
    (image,) = (
        one["value"] for one in flow["spec"]["arguments"]["parameters"] if one["name"] == "image"
    )
    question, better = "What does the seal 7 need?", "check the seal 7 each week"
    response = comparing.correct(site.gateway(), site.key(), "technician", question, better)
    apply(site, comparing.golden_add(image, response))
    done = ("wait", "job/golden", "-n", PLATFORM, "--for=condition=Complete", "--timeout=900s")
    site.kubectl(*done)
    with site.store().get_object("nexus", f"{TENANT}/golden/support-v1.jsonl") as told:
        item = json.loads(told.read().splitlines()[1])
    assert (item["question"], item["references"]) == (question, [better])


def test_a_person_compares_a_model_with_its_champion(site: Site, tmp_path: Path) -> None:
    (tmp_path / "golden.jsonl").write_bytes(lines(golden()[:3]))
    with comparing.desk(site) as desk:
        found = desk.compare(
            tmp_path / "prompts.json",
            goldenSet="golden.jsonl",
            models=["technician", "technician:tuned"],
            maxTokens=8,
        )
        assert [one["model"] for one in found["runs"]] == [
            "baseline",
            "technician",
            "technician:tuned",
        ]
        told = desk.nexus("diff", found["runs"][1]["run"], found["runs"][2]["run"])
        assert told.startswith("3 items by f1: ")


def test_bad_ratings_start_one_run(site: Site, tmp_path: Path) -> None:
    """Debian's Prometheus with our rule, Debian's Alertmanager, Argo Events, the operator."""
    probes = [alerting.listening(job(seed=0), name, {"probe": name}) for name in PROBES]
    jobs = [alerting.listening(slowly(job(seed=0)), "rated", RATED_BAD), *probes]
    apply(site, alerting.secret(), *jobs)
    alerting.await_listener(site, len(jobs))
    with alerting.monitoring(site, tmp_path) as monitoring:
        ratings = 'nexus_gateway_feedback_total{model="technician"}'
        series = 2 * len(alerting.gateways(site))
        eventually(lambda: len(monitoring.query(ratings)) == series, what="all gateways' metrics")
        alerting.rate(site, "technician", RATINGS)
        eventually(lambda: alerting.runs_of(site, "rated"), what="a run", pause=0.5)
        (alert,) = monitoring.firing(alerting.RATED_BAD)
        # A judge that failed has failed a Workflow above: Argo's own count is what the rule reads.
        ((labels, failed),) = monitoring.query("nexus:workflow_failures:total")
        assert labels["namespace"] == PLATFORM
        assert failed >= 1
        told = monitoring.posted()
        eventually(lambda: monitoring.posted() >= told + 3, what="the alert told again")
    (flow,) = alerting.runs_of(site, "rated")
    assert flow["metadata"]["annotations"]["llmops.nexus/cause"] == "Alert"
    assert alerting.request_of(flow).startswith(f"run:alert:{alert['fingerprint']}:")


def test_a_training_tells_how_far_it_is_while_it_goes_on(site: Site) -> None:
    """From the log of its pod, by the rights of the chart."""

    def told() -> Manifest:
        last: Manifest = status(site, "rated").get("lastRun") or {}
        assert last["phase"] in {"Starting", "Pending", "Running"}, (last, failures(site))
        return last if "loss" in last else {}

    last = eventually(
        told, what="the loss of a training that goes on", seconds=RUN_SECONDS, pause=1
    )
    assert last["step"] == "train"
    assert float(last["loss"]) > 0
    assert last["progressPercent"] in range(100)
    assert last["expectedEnd"].endswith("Z")
    later = eventually(
        lambda: (seen := told()) and seen["loss"] != last["loss"] and seen,
        what="another loss",
        pause=1,
    )
    assert later["progressPercent"] >= last["progressPercent"]
    print(site.kubectl("get", "ftj", "-n", TENANT, "rated"))  # noqa: T201


def test_a_training_whose_pod_is_drained_goes_on_from_its_checkpoint(site: Site) -> None:
    (flow,) = alerting.runs_of(site, "rated")
    run = flow["metadata"]["name"]
    old = draining.drained(site, run)
    after = draining.went_on(site, run, old)
    assert after == draining.checkpoint(site, "rated", run) > 0


def test_fifty_repeats_of_an_alert_make_no_other_run(site: Site) -> None:
    (flow,) = alerting.runs_of(site, "rated")
    alerting.cancel(site, "rated")
    eventually(lambda: status(site, "rated")["lastRun"].get("finishedAt"), what="its end")
    _, _, fingerprint, began = alerting.request_of(flow).split(":", 3)
    hook = alerting.Hook(site)
    assert hook.refuses_strangers()
    for _ in range(REPEATS):
        hook.post(RATED_BAD, fingerprint=fingerprint, starts_at=began)
    # A Sensor takes one after another: once this one, which the run has answered, is through, all
    # are.
    last = {"fingerprint": "0123456789abcdef", "starts_at": "2026-01-01T00:00:00.000Z"}
    hook.post(RATED_BAD, **last)
    request = "run:alert:{fingerprint}:{starts_at}".format(**last)
    eventually(lambda: request in status(site, "rated")["answered"], what="the last alert")
    assert [one["metadata"]["name"] for one in alerting.runs_of(site, "rated")] == [
        flow["metadata"]["name"]
    ]


def test_an_alert_soon_becomes_a_workflow(site: Site) -> None:
    """The figure: from the post to Argo Events until the run is there; each job has its alert."""
    hook = alerting.Hook(site)
    seconds = []
    for name in PROBES:
        seconds.append(alerting.seconds_to_run(site, hook, name, {"probe": name}))
        alerting.cancel(site, name)
    cuts = quantiles(seconds, n=20, method="inclusive")
    print(  # noqa: T201
        f"alert posted -> Workflow created, {len(seconds)} times: p50 {cuts[9]:.2f} s, "
        f"p95 {cuts[18]:.2f} s, slowest {max(seconds):.2f} s"
    )
    assert [len(alerting.runs_of(site, name)) for name in PROBES] == [1] * len(PROBES)


def test_what_a_run_has_read_is_not_new(site: Site) -> None:
    ended = eventually(lambda: newly_found(site) == 0 and status(site, FRESH), what="a last count")
    (flow,) = runs_by(site, "nexus-finetune", FRESH)
    assert ended["newData"]["since"] == ended["lastRun"]["name"] == flow["metadata"]["name"]
    assert ended["lastRun"]["step"] == "validate"


def newly_found(site: Site) -> int | None:
    found: int | None = (status(site, FRESH).get("newData") or {}).get("examples")
    return found


def test_drift_starts_a_run_stops_promotions_or_asks_for_a_sync(site: Site) -> None:
    """By its band, and by what is behind it: the monitor of the chart looks at two weeks."""
    began = time.monotonic()
    apply(site, *drifting.resources())
    drifting.log_answers(site)
    drifting.look(site)
    wanted = {drifting.SOMEWHAT: "Retrain", drifting.FAR: "AskPerson", drifting.BEHIND: "Resync"}
    assert {name: drifting.decision(site, name)["action"] for name in wanted} == wanted
    asked = {name: drifting.asked(site, "finetunejob", name) for name in wanted}
    assert {name: set(notes) for name, notes in asked.items()} == {
        drifting.SOMEWHAT: {"alert-requested-at"},
        drifting.FAR: {"promotion-blocked"},
        drifting.BEHIND: set(),
    }
    assert asked[drifting.FAR]["promotion-blocked"].startswith("drift:")
    sync = drifting.asked(site, "ragindex", drifting.BEHIND)["sync-requested-at"]
    assert sync == "drift-after-nothing"
    (flow,) = eventually(lambda: alerting.runs_of(site, drifting.SOMEWHAT), what="a run")
    assert flow["metadata"]["annotations"]["llmops.nexus/cause"] == "Alert"
    alerting.cancel(site, drifting.SOMEWHAT)
    band = 'nexus_monitor_drift_band{{model="{}",tenant="{}"}} {}'
    for name, value in ((drifting.SOMEWHAT, "2.0"), (drifting.FAR, "3.0")):
        assert band.format(name, TENANT, value) in drifting.metrics(site)
    print(f"drift of three models acted on: {time.monotonic() - began:.1f} s")  # noqa: T201
