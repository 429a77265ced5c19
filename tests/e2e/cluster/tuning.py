"""What is tuned on the test cluster: a tiny base, examples, a golden set, the job and its model."""

from .site import PLATFORM, TENANT, Manifest, Site

BASE = f"{TENANT}/bases/tiny.gguf"
EXAMPLES = f"{TENANT}/examples/parts.jsonl"
GOLDEN = f"{TENANT}/golden/parts.jsonl"
MODEL = f"{TENANT}.tuning"
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


def examples() -> list[Manifest]:
    """Questions about parts, each with one right answer; every document is one part."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What does the {part} {number} need?"},
                {
                    "role": "assistant",
                    "content": f"check the {part} {number} each {time}",
                },
            ],
            "document": f"{part}-{time}",
        }
        for number, (part, time) in enumerate((part, time) for part in PARTS for time in TIMES)
    ]


def golden() -> list[Manifest]:
    """Other questions about the same parts."""
    return [
        {
            "id": f"{part}-{number}",
            "question": f"When does the operator open the {part} {number}?",
            "references": [f"open the {part} {number} each month"],
            "document": f"{part}-{number}",
            "language": "en",
        }
        for number, part in enumerate(PARTS, start=100)
    ]


def job(seed: int) -> Manifest:
    """The job with another seed, which makes another adapter."""
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
                "epochs": 1,
                "batchSize": 8,
                "sequenceTokens": 128,
                "learningRate": "0.01",
                "seed": seed,
            },
            "evaluation": {
                "goldenSet": f"s3://nexus/{GOLDEN}",
                "floors": [{"metric": "f1", "min": "0"}],
                "minItems": len(PARTS),
            },
        },
    }


def serving() -> Manifest:
    """The base, with whatever the job's champion is beside it."""
    adapter = {"name": "tuned", "uri": f"models:/{MODEL}@champion"}
    model = {"uri": f"s3://nexus/{BASE}", "adapters": [adapter]}
    return {
        "apiVersion": "llmops.nexus/v1alpha1",
        "kind": "ServingModel",
        "metadata": {"name": "technician", "namespace": TENANT},
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
