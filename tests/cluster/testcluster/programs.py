"""What the test cluster is built from: each program, its Go module and how it is linked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Name = Literal[
    "kube",
    "etcd",
    "pod",
    "coredns",
    "helm",
    "nats-server",
    "minio",
    "argo-events",
    "workflow-controller",
    "argoexec",
    "argocd",
]
NAMES: tuple[Name, ...] = get_args(Name)

SOURCES = Path(__file__).parents[1]
KUBERNETES = "1.34.4"
_VERSION = "k8s.io/component-base/version"
_SMALL = "-s -w"


@dataclass(frozen=True)
class CopiedModule:
    """A module whose released archive lacks files: built from a copy in which they are restored.

    `restored` maps each missing path to the path of the module that holds the same text.
    """

    path: str
    restored: dict[str, str]


@dataclass(frozen=True)
class Program:
    """One Go program: a package of the module in the folder `module` beside this package."""

    module: str
    package: str = "."
    link: str = _SMALL
    static: bool = True
    copied: CopiedModule | None = None

    @property
    def folder(self) -> Path:
        """Return the folder with the program's go.mod and go.sum."""
        return SOURCES / self.module

    def sources(self) -> list[Path]:
        """Return the files that say what is built, in a fixed order."""
        return [
            path
            for name in ("go.mod", "go.sum", "main.go")
            if (path := self.folder / name).exists()
        ]


# The archive of Argo Workflows has no symbolic links, and this file is one.
_ARGO_WORKFLOWS = CopiedModule(
    path="github.com/argoproj/argo-workflows/v3",
    restored={
        "workflow/executor/osspecific/signal_linux.go": (
            "workflow/executor/osspecific/signal_darwin.go"
        )
    },
)


def _argo(command: str) -> Program:
    package = f"{_ARGO_WORKFLOWS.path}/cmd/{command}"
    return Program("argo-workflows", package, copied=_ARGO_WORKFLOWS)


PROGRAMS: dict[Name, Program] = {
    "kube": Program(
        "kube",
        link=(
            f"{_SMALL} -X {_VERSION}.gitVersion=v{KUBERNETES} "
            f"-X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor={KUBERNETES.split('.')[1]}"
        ),
        static=False,  # it runs on the host alone
    ),
    "etcd": Program("etcd", static=False),
    "pod": Program("pod"),
    "coredns": Program("coredns", "github.com/coredns/coredns"),
    "helm": Program("helm", "helm.sh/helm/v3/cmd/helm"),
    "nats-server": Program("nats", "github.com/nats-io/nats-server/v2"),
    "minio": Program("minio", "github.com/minio/minio"),
    "argo-events": Program("argo-events", "github.com/argoproj/argo-events/cmd"),
    "workflow-controller": _argo("workflow-controller"),
    "argoexec": _argo("argoexec"),
    "argocd": Program("argocd"),
}
