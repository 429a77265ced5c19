"""What is tuned on the test cluster: a tiny base, examples, a golden set, the job and its model."""

from .site import PLATFORM, TENANT, Manifest, Site

BASE = f"{TENANT}/bases/tiny.gguf"
EXAMPLES = f"{TENANT}/examples/parts.jsonl"
GOLDEN = f"{TENANT}/golden/parts.jsonl"
RIDDLES = f"{TENANT}/golden/riddles.jsonl"
SERVED = "technician"
MODEL = f"{TENANT}.tuning"
FRESH = "fresh"
FRESH_ROWS = f"{TENANT}/fresh/"
PARTS = (
    "pump",
    "valve",
    "filter",
    "gate",
    "seal",
    "bearing",
    "motor",
    "oil",
    "line",
    "part",
)
TIMES = ("hour", "week", "month", "interval", "note", "status", "manual", "tool")
SHORT, BETTER = "month", "open each month"
"""What examples answer: a third and three quarters of the words that the golden set asks for."""


def examples(answer: str = SHORT) -> list[Manifest]:
    """Questions about parts, of a document each, with one answer, which a few steps teach.

    One in eight says it twice: a set in which all answers are alike is none to learn from.
    """
    return [
        {
            "messages": [
                {"role": "user", "content": f"What does the {part} {number} need?"},
                {
                    "role": "assistant",
                    "content": answer if time != TIMES[-1] else f"{answer} {answer}",
                },
            ],
            "document": f"{part}-{time}",
        }
        for number, (part, time) in enumerate((part, time) for part in PARTS for time in TIMES)
    ]


def golden() -> list[Manifest]:
    """Other questions about the same parts, each with a passage by which it can be judged.

    They are of twenty documents, the fewest that a comparison with production may stand on.
    """
    return [
        {
            "id": f"{part}-{number}",
            "question": f"When does the operator open the {part} {number}?",
            "references": [f"open the {part} {number} each month"],
            "contexts": [{"document": part, "text": f"open the {part} {number} each month"}],
            "document": f"{part}-{number}",
            "language": "en",
        }
        for number, part in enumerate(PARTS * 2, start=100)
    ]


def job(seed: int, *, judged: bool = False) -> Manifest:
    """The job with another seed, which makes another adapter; judged ones have two floors more."""
    floors = [{"metric": "f1", "min": "0"}]
    if judged:
        floors += [{"metric": name, "min": "0.5"} for name in ("contextPrecision", "faithfulness")]
    gates = {
        "minExamples": 20,
        "maxDuplicatePercent": 100,
        "maxDroppedPercent": 90,
        "maxOtherLanguagePercent": 100,
    }
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "tuning", "namespace": TENANT},
        "spec": {
            "baseModel": {"uri": f"s3://nexus/{BASE}"},
            "data": {"files": {"prefix": f"{TENANT}/examples/"}, "gates": gates},
            "lora": {
                "r": 4,
                "alpha": 8,
                "epochs": 2,
                "batchSize": 8,
                "sequenceTokens": 128,
                "learningRate": "0.02",
                "seed": seed,
            },
            "evaluation": {
                "goldenSet": f"s3://nexus/{GOLDEN}",
                "floors": floors,
                "minItems": len(golden()),
                # Where twenty items gain nearly the same, a bound of the usual level is no figure.
                "alpha": "0.5",
                "decisions": 4,
            },
        },
    }


def by_itself(job: Manifest) -> Manifest:
    """Return the job with what passes its gate released to the model that serves, by nobody."""
    promotion = {"mode": "Auto", "servingModelRef": {"name": SERVED}}
    return {**job, "spec": {**job["spec"], "promotion": promotion}}


def slowly(job: Manifest) -> Manifest:
    """Return the job with a training of minutes, for tests that look on and then cancel it."""
    slow = {"epochs": 100, "batchSize": 1, "learningRate": "1e-4"}
    return {**job, "spec": {**job["spec"], "lora": {**job["spec"]["lora"], **slow}}}


def watching(interval: str) -> Manifest:
    """A job that waits for six new examples and ends at `validate`; others train."""
    made = job(seed=0)
    made["metadata"]["name"] = FRESH
    made["spec"]["data"] = {"files": {"prefix": FRESH_ROWS}, "gates": {"minExamples": 1000}}
    made["spec"]["triggers"] = {"newData": {"minExamples": 6, "checkInterval": interval}}
    return made


def serving() -> Manifest:
    """The base, with whatever the job's champion is beside it."""
    adapter = {"name": "tuned", "uri": f"models:/{MODEL}@champion"}
    model = {"uri": f"s3://nexus/{BASE}", "adapters": [adapter]}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": SERVED, "namespace": TENANT},
        "spec": {"model": model, "runtime": {"contextTokens": 512}},
    }


def access(site: Site) -> Manifest:
    """What a runtime of the tenant fetches models by."""
    keys = ("NEXUS_S3_ACCESS_KEY", "NEXUS_S3_SECRET_KEY")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "nexus-models", "namespace": TENANT},
        "stringData": {
            "NEXUS_S3_ENDPOINT": f"http://nexus-minio.{PLATFORM}:9000",
            **{key: site.secret("nexus-platform", key) for key in keys},
        },
    }
