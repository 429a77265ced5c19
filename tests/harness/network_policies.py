"""What NetworkPolicies let through, judged by the Kubernetes API reference (networking.k8s.io/v1).

No network plugin is asked: a plugin that enforces policies is not needed to know what they say.
What the reference leaves to plugins (node addresses, rewritten sources) is not judged here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Manifest = dict[str, Any]
Labels = Mapping[str, str]

_ALL_KEYS = {
    "spec": {"podSelector", "policyTypes", "ingress", "egress"},
    "rule": {"ports", "from", "to"},
    "peer": {"podSelector", "namespaceSelector", "ipBlock"},
    "port": {"port", "endPort", "protocol"},
}


class Listening(NamedTuple):
    """A port as a container names it."""

    name: str
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or with an empty namespace a machine outside the cluster."""

    namespace: str = ""
    labels: Labels = field(default_factory=dict)
    ports: tuple[Listening, ...] = ()
    address: str = ""

    def numbers(self, port: int | str, protocol: str) -> set[int]:
        """Return what a policy's port means at this end; a name that nothing here has: nothing."""
        if isinstance(port, int):
            return {port}
        return {one.number for one in self.ports if (one.name, one.protocol) == (port, protocol)}


@dataclass(frozen=True)
class Network:
    """The policies of a cluster, and the labels of its namespaces by name."""

    policies: Sequence[Manifest]
    namespaces: Mapping[str, Labels]

    def allows(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Tell whether a connection comes about: its source may begin it, its target take it.

        A pod always reaches itself.
        """
        if source == target and source.namespace:
            return True
        goes = self._passes("Egress", source, target, (target, port, protocol))
        return goes and self._passes("Ingress", target, source, (target, port, protocol))

    def _passes(self, direction: str, pod: End, other: End, reached: tuple[End, int, str]) -> bool:
        """Tell whether the policies of a pod let through what it has to do with another end.

        A pod that none selects for the direction is open; policies that do add up.
        """
        rules, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        mine = [one for one in self._selecting(pod) if direction in policy_types(one["spec"])]
        return not mine or any(
            self._peer_matches(rule.get(peers), policy["metadata"]["namespace"], other)
            and _port_matches(rule.get("ports"), *reached)
            for policy in mine
            for rule in policy["spec"].get(rules) or ()
            if _known("rule", rule)
        )

    def _selecting(self, pod: End) -> Iterator[Manifest]:
        for policy in self.policies:
            spec = policy["spec"]
            here = bool(pod.namespace) and policy["metadata"]["namespace"] == pod.namespace
            if _known("spec", spec) and here and selects(spec.get("podSelector"), pod.labels):
                yield policy

    def _peer_matches(self, peers: Iterable[Manifest] | None, own: str, other: End) -> bool:
        """Tell whether an end is among a rule's peers; `own`: the namespace of the policy."""
        return not peers or any(self._is_peer(one, own, other) for one in peers)

    def _is_peer(self, peer: Manifest, own: str, other: End) -> bool:
        _known("peer", peer)
        if (block := peer.get("ipBlock")) is not None:
            return bool(other.address) and _in_block(block, other.address)
        if not other.namespace:
            return False
        if (wanted := peer.get("namespaceSelector")) is None:
            in_place = other.namespace == own
        else:
            in_place = selects(wanted, self.namespaces[other.namespace])
        return in_place and selects(peer.get("podSelector") or {}, other.labels)


def policy_types(spec: Manifest) -> set[str]:
    """Return the directions that a policy is about, as the API server fills them in."""
    stated = set(spec.get("policyTypes") or ())
    return stated or ({"Ingress", "Egress"} if spec.get("egress") else {"Ingress"})


def selects(selector: Manifest | None, labels: Labels) -> bool:
    """Tell whether a label selector selects; an empty one selects all, none (null) nothing."""
    if selector is None:
        return False
    exact = selector.get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in exact.items()) and all(
        _meets(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _meets(requirement: Manifest, labels: Labels) -> bool:
    found = labels.get(requirement["key"])
    match requirement["operator"]:
        case "In":
            return found is not None and found in requirement["values"]
        case "NotIn":
            return found is None or found not in requirement["values"]
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case unknown:
            raise ValueError(f"no operator of label selectors: {unknown}")


def _port_matches(ports: Iterable[Manifest] | None, at: End, number: int, protocol: str) -> bool:
    return not ports or any(_is_port(one, at, number, protocol) for one in ports)


def _is_port(port: Manifest, at: End, number: int, protocol: str) -> bool:
    _known("port", port)
    if port.get("protocol", "TCP") != protocol:
        return False
    if (wanted := port.get("port")) is None:
        return True
    if (last := port.get("endPort")) is not None:
        return bool(wanted <= number <= last)
    return number in at.numbers(wanted, protocol)


def _in_block(block: Manifest, address: str) -> bool:
    def within(cidr: str) -> bool:
        return ip_address(address) in ip_network(cidr)

    return within(block["cidr"]) and not any(within(one) for one in block.get("except") or ())


def _known(what: str, part: Manifest) -> bool:
    """Refuse what is not judged here: a field that nobody reads would pass unseen."""
    if strange := part.keys() - _ALL_KEYS[what]:
        raise ValueError(f"a NetworkPolicy's {what} has no {', '.join(sorted(strange))}")
    return True


def pod_of(namespace: str, template: Manifest, added: Labels | None = None) -> End:
    """Return a pod by its template, with the labels that its controller adds."""
    spec = template.get("spec") or {}
    beside = [one for one in spec.get("initContainers") or () if one.get("restartPolicy")]
    ports = tuple(
        Listening(one.get("name", ""), one["containerPort"], one.get("protocol", "TCP"))
        for container in [*(spec.get("containers") or ()), *beside]
        for one in container.get("ports") or ()
    )
    labels = template["metadata"].get("labels") or {}
    return End(namespace, {**labels, **(added or {})}, ports)
