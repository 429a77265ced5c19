"""The judge of NetworkPolicies says what the Kubernetes API reference says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from network_policies import End, Listening, Manifest, Network, pod_of, policy_types, selects

NAMESPACES = {
    "default": {"kubernetes.io/metadata.name": "default", "project": "ours"},
    "other": {"kubernetes.io/metadata.name": "other", "project": "theirs"},
    "dns": {"kubernetes.io/metadata.name": "dns"},
}
DB = End("default", {"role": "db"}, (Listening("sql", 5432), Listening("metrics", 9187)))
WEB = End("default", {"role": "web"}, (Listening("http", 8080),))
FORGED = End("other", {"role": "web"}, (Listening("http", 8080),))
STRANGER = End("other", {"role": "batch"})
RESOLVER = End("dns", {"app": "dns"}, (Listening("dns", 53, "UDP"), Listening("dns-tcp", 53)))
OUTSIDE = End(address="172.17.0.9")
ENDS = (DB, WEB, FORGED, STRANGER, RESOLVER, OUTSIDE)


def policy(namespace: str = "default", **spec: Any) -> Manifest:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def network(*policies: Manifest) -> Network:
    return Network(policies, NAMESPACES)


def who(judged: Network, target: End = DB, port: int = 5432) -> list[End]:
    return [one for one in ENDS if one != target and judged.allows(one, target, port)]


def labelled(**labels: str) -> Manifest:
    return {"matchLabels": labels}


EVERYBODY = [WEB, FORGED, STRANGER, RESOLVER, OUTSIDE]
THEIRS = {"namespaceSelector": labelled(project="theirs")}
OUR_WEB = {"namespaceSelector": labelled(project="ours"), "podSelector": labelled(role="web")}


@pytest.mark.parametrize(
    ("peers", "let_in"),
    [
        ([{"podSelector": {}}], [WEB]),
        ([{"podSelector": labelled(role="batch")}], []),
        ([{"namespaceSelector": {}}], [WEB, FORGED, STRANGER, RESOLVER]),
        ([THEIRS], [FORGED, STRANGER]),
        # One peer with both selectors means both, two peers mean either.
        ([OUR_WEB], [WEB]),
        ([{name: selector} for name, selector in OUR_WEB.items()], [WEB]),
        (
            [THEIRS, {"podSelector": labelled(role="web")}],
            [WEB, FORGED, STRANGER],
        ),
        (
            [{**THEIRS, "podSelector": labelled(role="web")}],
            [FORGED],
        ),
        ([{"ipBlock": {"cidr": "172.17.0.0/16"}}], [OUTSIDE]),
        ([{"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.0.0/24"]}}], []),
        ([{"namespaceSelector": {}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}], EVERYBODY),
        ([], EVERYBODY),
    ],
)  # fmt: skip
def test_peers_of_a_rule(peers: list[Manifest], let_in: list[End]) -> None:
    assert who(network(policy(ingress=[{"from": peers}]))) == let_in


@pytest.mark.parametrize(
    ("ports", "open_ports"),
    [
        ([], {1, 5432, 9187}),
        ([{"port": 5432}], {5432}),
        ([{"port": "metrics"}], {9187}),
        ([{"port": "nobody"}], set()),
        ([{"port": "metrics"}, {"port": 1}], {1, 9187}),
        ([{"port": 5000, "endPort": 9187}], {5432, 9187}),
        ([{"protocol": "TCP"}], {1, 5432, 9187}),
        ([{"protocol": "UDP"}], set()),
        ([{"port": "sql", "protocol": "UDP"}], set()),
    ],
)
def test_ports_of_a_rule(ports: list[Manifest], open_ports: set[int]) -> None:
    judged = network(policy(ingress=[{"ports": ports}]))
    assert {one for one in (1, 5432, 9187) if judged.allows(WEB, DB, one)} == open_ports


def test_a_rule_wants_peer_and_port_together_and_rules_add_up() -> None:
    ours = {"from": [{"podSelector": labelled(role="web")}], "ports": [{"port": "sql"}]}
    anybody = {"ports": [{"port": "metrics"}]}
    judged = network(policy(ingress=[ours, anybody]))
    assert who(judged, port=5432) == [WEB]
    assert who(judged, port=9187) == EVERYBODY


def test_whom_no_policy_selects_is_open_and_whom_one_selects_is_closed() -> None:
    assert who(network()) == EVERYBODY
    assert who(network(policy(podSelector=labelled(role="web")))) == EVERYBODY
    assert who(network(policy("other"))) == EVERYBODY
    assert who(network(policy(podSelector=labelled(role="db")))) == []
    assert who(network(policy(policyTypes=["Ingress"]))) == []
    assert who(network(policy(ingress=[{}]))) == EVERYBODY
    assert network(policy()).allows(DB, DB, 5432), "a pod reaches itself"


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, {"Ingress"}),
        ({"ingress": [{}]}, {"Ingress"}),
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"egress": []}, {"Ingress"}),
        ({"policyTypes": ["Egress"]}, {"Egress"}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {"Egress"}),
    ],
)
def test_directions_that_are_not_stated(spec: Manifest, types: set[str]) -> None:
    assert policy_types(spec) == types


def test_what_leaves_needs_leave_and_a_name_is_asked_of_the_resolver_first() -> None:
    closed = policy(podSelector=labelled(role="web"), policyTypes=["Egress"])
    assert not network(closed).allows(WEB, DB, 5432)
    assert network(closed).allows(DB, WEB, 8080), "what comes in is not its business"
    names = {
        "to": [{"namespaceSelector": labelled(**{"kubernetes.io/metadata.name": "dns"})}],
        "ports": [{"port": "dns", "protocol": "UDP"}],
    }
    data = {"to": [{"podSelector": labelled(role="db")}], "ports": [{"port": "sql"}]}
    judged = network(closed, policy(policyTypes=["Egress"], egress=[names, data]))
    assert judged.allows(WEB, RESOLVER, 53, "UDP")
    assert not judged.allows(WEB, RESOLVER, 53), "names are resolved by UDP here"
    assert judged.allows(WEB, DB, 5432), "the name of a port is that of the target"
    assert not judged.allows(WEB, DB, 9187)
    assert not judged.allows(WEB, OUTSIDE, 5432)


def test_both_ends_must_agree() -> None:
    sends = policy(podSelector=labelled(role="web"), policyTypes=["Egress"], egress=[{}])
    takes = policy(podSelector=labelled(role="db"), ingress=[{}])
    refuses = policy(podSelector=labelled(role="db"))
    assert network(sends, takes).allows(WEB, DB, 5432)
    assert not network(sends, refuses).allows(WEB, DB, 5432)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "1", "b": "1"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "In", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
        (
            {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]},
            False,
        ),
    ],
)
def test_label_selectors(selector: Manifest | None, selected: bool) -> None:
    assert selects(selector, {"a": "1"}) == selected


def test_what_is_not_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="rule has no form"):
        who(network(policy(ingress=[{"form": []}])))
    with pytest.raises(ValueError, match="no operator"):
        selects({"matchExpressions": [{"key": "a", "operator": "in"}]}, {})


def test_a_pod_has_the_ports_of_its_containers_and_of_those_that_run_beside_them() -> None:
    def container(name: str, **more: str) -> Manifest:
        return {"name": name, "ports": [{"name": name, "containerPort": 1}], **more}

    spec = {
        "containers": [container("main")],
        "initContainers": [container("first"), container("beside", restartPolicy="Always")],
    }
    template = {"metadata": {"labels": {"a": "1"}}, "spec": spec}
    found = pod_of("default", template, {"sensor-name": "x"})
    assert [one.name for one in found.ports] == ["main", "beside"]
    assert found.labels == {"a": "1", "sensor-name": "x"}


SELECTORS = st.sampled_from(
    [{}, labelled(role="web"), labelled(role="db"), labelled(project="ours")]
)
PEERS = st.fixed_dictionaries(
    {}, optional={"podSelector": SELECTORS, "namespaceSelector": SELECTORS}
).filter(bool)
PORTS = st.fixed_dictionaries({}, optional={"port": st.sampled_from([5432, "sql", "http", 8080])})
RULES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"peers": st.lists(PEERS, max_size=2), "ports": st.lists(PORTS, max_size=2)}
    ),
    max_size=2,
)


@st.composite
def policies(draw: st.DrawFn) -> Manifest:
    def rules(peers: str) -> list[Manifest]:
        return [
            {peers if key == "peers" else key: rule[key] for key in rule} for rule in draw(RULES)
        ]

    types = draw(st.sets(st.sampled_from(["Ingress", "Egress"])))
    selector, place = draw(SELECTORS), draw(st.sampled_from(sorted(NAMESPACES)))
    spec = {"podSelector": selector, "ingress": rules("from"), "egress": rules("to")}
    return policy(place, **spec, policyTypes=sorted(types))


def flows(judged: Network) -> set[tuple[int, int, int]]:
    return {
        (a, b, port)
        for a, source in enumerate(ENDS)
        for b, target in enumerate(ENDS)
        for port in (5432, 8080)
        if judged.allows(source, target, port)
    }


@given(st.lists(policies(), max_size=4), policies())
def test_policies_add_up_in_any_order(some: list[Manifest], one: Manifest) -> None:
    all_of_them = flows(network(*some, one))
    assert all_of_them == flows(network(one, *reversed(some)))
    assert all_of_them == flows(network(*some, one, one))
    # A rule more never takes a flow away, whatever it says; a policy whose rules are gone may.
    wider = policy(one["metadata"]["namespace"], **one["spec"])
    wider["spec"] = {**one["spec"], "ingress": [*one["spec"]["ingress"], {}]}
    assert flows(network(*some, wider)) >= all_of_them
    closed = {**one["spec"], "ingress": [], "egress": [], "policyTypes": ["Ingress", "Egress"]}
    assert flows(network(*some, policy(one["metadata"]["namespace"], **closed))) <= flows(
        network(*some)
    )


@given(PEERS, st.sampled_from(ENDS[1:]))
def test_one_peer_of_two_selectors_is_narrower_than_each(peer: Manifest, source: End) -> None:
    def lets_in(*peers: Manifest) -> bool:
        return network(policy(ingress=[{"from": list(peers)}])).allows(source, DB, 5432)

    apart = [{name: selector} for name, selector in peer.items()]
    if lets_in(peer):
        assert lets_in(*apart)
    if "namespaceSelector" in peer:
        alone = lets_in({"namespaceSelector": peer["namespaceSelector"]})
        assert lets_in(peer) == (alone and selects(peer.get("podSelector", {}), source.labels))
