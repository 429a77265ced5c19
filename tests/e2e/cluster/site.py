"""LLMOps Nexus on the test cluster, as its users reach it: kubectl, helm, S3, the openai client."""

import json
from base64 import b64decode
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any

from minio import Minio
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin
from openai import OpenAI
from testcluster.cluster import Cluster

Manifest = dict[str, Any]
PLATFORM = "nexus-system"
TENANT = "default"


@dataclass
class Site:
    """One installed platform."""

    cluster: Cluster

    def kubectl(self, *words: str, stdin: str = "", seconds: float = 960) -> str:
        """Return what kubectl prints; a failure fails the test with its words."""
        return self.cluster.run(["kubectl", *words], text=stdin, seconds=seconds).stdout

    def helm(self, *words: str, stdin: str = "", seconds: float = 600) -> str:
        """Return what helm prints."""
        return self.cluster.run(["helm", *words], text=stdin, seconds=seconds).stdout

    def wait(self, resource: str, condition: str = "Ready", seconds: int = 600) -> None:
        """Wait until a condition of the tenant's `kind/name` is true; else fails with its status.

        The gateway, the operator and kube-proxy each hear of it in their own moment.
        """
        done = self.cluster.run(
            [
                *("kubectl", "wait", "-n", TENANT, resource),
                *(f"--for=condition={condition}", f"--timeout={seconds}s"),
            ],
            check=False,
            seconds=seconds + 60,
        )
        if done.returncode != 0:
            status = self.get(*resource.split("/")).get("status")
            raise AssertionError(f"{done.stderr.strip()}: {resource} is {json.dumps(status)}")

    def get(self, kind: str, name: str, namespace: str = TENANT) -> Manifest:
        """Return one object."""
        found: Manifest = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def items(self, kind: str, *words: str) -> list[Manifest]:
        """Return the objects of a kind; words choose namespace and labels as for kubectl."""
        found: list[Manifest] = json.loads(self.kubectl("get", kind, *words, "-o", "json"))["items"]
        return found

    def secret(self, name: str, key: str, namespace: str = PLATFORM) -> str:
        """Return one value of a Secret."""
        return b64decode(self.get("secret", name, namespace)["data"][key]).decode()

    def address(self, service: str, namespace: str = PLATFORM) -> str:
        """Return `host:port` of a Service; names of the cluster are not known outside of it."""
        spec = self.get("service", service, namespace)["spec"]
        return f"{spec['clusterIP']}:{spec['ports'][0]['port']}"

    def store(self) -> Minio:
        """Return a plain S3 client with the platform's credentials."""
        return Minio(
            self.address("nexus-minio"),
            access_key=self.secret("nexus-platform", "NEXUS_S3_ACCESS_KEY"),
            secret_key=self.secret("nexus-platform", "NEXUS_S3_SECRET_KEY"),
            secure=False,
        )

    def bucket_user(self, bucket: str) -> dict[str, str]:
        """Make a user of the store who may read one bucket, and return its Secret's content."""
        admin = MinioAdmin(
            endpoint=self.address("nexus-minio"),
            credentials=StaticProvider(
                self.secret("nexus-platform", "NEXUS_S3_ACCESS_KEY"),
                self.secret("nexus-platform", "NEXUS_S3_SECRET_KEY"),
            ),
            secure=False,
        )
        keys = {"accessKey": f"{bucket}-reader", "secretKey": token_urlsafe()}
        places = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        allowed = {"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"], "Resource": places}
        admin.user_add(keys["accessKey"], keys["secretKey"])
        admin.policy_add(bucket, policy={"Version": "2012-10-17", "Statement": [allowed]})
        admin.policy_set(bucket, user=keys["accessKey"])
        return keys

    def key(self) -> str:
        """Return the key that the chart made for the tenant's first user."""
        return self.secret("nexus-gateway-keys", "admin-key")

    def gateway(self) -> str:
        """Return the gateway's address."""
        return f"http://{self.address('nexus-gateway')}"

    def openai(self) -> OpenAI:
        """Return the official client, as a user would make it."""
        return OpenAI(base_url=f"{self.gateway()}/v1", api_key=self.key(), timeout=120)

    def ask(self, question: str, model: str = "assistant") -> tuple[str, list[Manifest]]:
        """Return an answer and its citations."""
        answer = self.openai().chat.completions.create(
            model=model, messages=[{"role": "user", "content": question}]
        )
        citations: list[Manifest] = answer.model_dump().get("citations") or []
        return answer.choices[0].message.content or "", citations
