"""deploy/kubernetes: manifests that the API takes, pods that keep the rules, names that lead somewhere.

Each example is rendered by a reader of our own, and by kubectl where there is one; both must come to what is committed.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.settings import Settings, load
from tests.support.kustomize import EXAMPLES, KUBERNETES, Resource, containers, pod_of, read, render, written

OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()
"""The releases of Kubernetes that manifests are checked against; docs/kubernetes.md names the first."""

GATEWAY = "fhir-gateway"
MARGIN = 5.0
"""Seconds that a pod is left with after preStop and draining, to write its trail and end."""


def named(resources: list[Resource]) -> dict[tuple[str, str], Resource]:
    return {(one["kind"], one["metadata"]["name"]): one for one in resources}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> list[Resource]:
    return render(KUBERNETES / "examples" / request.param)


# --- rendering ---------------------------------------------------------------------------------------------------------


def kubectl() -> str | None:
    """kubectl, if there is one whose Kustomize knows components in today's order (5.1)."""
    found = shutil.which("kubectl")
    if found is None:
        return None
    said = subprocess.run([found, "version", "--client", "--output=json"], capture_output=True, text=True, timeout=50)
    version = (
        re.match(r"v(\d+)\.(\d+)", json.loads(said.stdout or "{}").get("kustomizeVersion", "")) if said.stdout else None
    )
    return found if version and (int(version[1]), int(version[2])) >= (5, 1) else None


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_committed_is_what_the_example_comes_to(name: str):
    committed = KUBERNETES / "rendered" / f"{name}.yaml"
    assert committed.read_text() == written(name), "run python -m tests.support.kustomize"
    if program := kubectl():
        command = [program, "kustomize", KUBERNETES / "examples" / name]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
        assert named(list(yaml.safe_load_all(said))) == named(read(committed))


def test_a_pod_with_containers_of_its_own_keeps_them_behind_the_gateway(tmp_path: Path):
    (tmp_path / "app.yaml").write_text("""
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {fhir-gateway/inject: sidecar}}
spec:
  template:
    spec:
      initContainers: [{name: migrate, image: "app:1"}]
      containers: [{name: app, image: "app:1"}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
spec: {template: {spec: {containers: [{name: other, image: "other:1"}]}}}
""")
    (tmp_path / "kubernetes").symlink_to(KUBERNETES)
    (tmp_path / "kustomization.yaml").write_text("resources: [app.yaml]\ncomponents: [kubernetes/components/sidecar]\n")
    found = named(render(tmp_path))
    pod = pod_of(found["Deployment", "app"])
    assert pod is not None
    assert [one["name"] for one in containers(pod)] == [GATEWAY, "migrate", "app"]
    assert pod["volumes"][-1] == {"name": "data", "emptyDir": {}}
    assert [one["name"] for one in containers(pod_of(found["Deployment", "other"]))] == ["other"]


# --- what the API takes --------------------------------------------------------------------------------------------------

PUBLISHED = {
    "ServiceMonitor": (
        {"selector", "endpoints", "namespaceSelector", "jobLabel", "targetLabels", "podTargetLabels"},
        {"port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "relabelings", "metricRelabelings"},
    ),
    "PrometheusRule": ({"groups"}, {"name", "rules", "interval"}),
}
"""Of the Prometheus Operator's types: what may stand below spec, and in each entry of its list (API reference, v1)."""


def refused(resource: Resource, version: str) -> str:
    """What the API of this release has against a resource; empty when nothing."""
    if resource["kind"] in PUBLISHED:
        spec, entries = PUBLISHED[resource["kind"]]
        (listed,) = [value for value in resource["spec"].values() if isinstance(value, list)]
        strange = (resource["spec"].keys() - spec) | {key for entry in listed for key in entry.keys() - entries}
        right = resource["apiVersion"] == "monitoring.coreos.com/v1"
        return "" if right and not strange else f"{resource['apiVersion']}: {sorted(strange)}"
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{resource['kind']}: {error.message}"
    return ""


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_api_takes_every_resource(example: list[Resource], version: str):
    assert [found for one in example if (found := refused(one, version))] == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", lambda one: one["spec"]["template"]["spec"].update(terminationGracePeriod=60)),
        ("Deployment", lambda one: gateway_of(one)["lifecycle"]["preStop"].update(sleep={"seconds": "5s"})),
        ("Deployment", lambda one: gateway_of(one)["startupProbe"].update(path="/startupz")),
        ("NetworkPolicy", lambda one: one["spec"].update(ingres=[])),
        ("PodDisruptionBudget", lambda one: one["spec"].update(maxUnavailable=[1])),
        ("ServiceMonitor", lambda one: one["spec"]["endpoints"][0].update(timeout="10s")),
    ],
)
def test_a_mistake_is_refused(kind: str, change: Callable[[Resource], object]):
    resources = render(KUBERNETES / "examples" / "sidecar")
    one = next(one for one in resources if one["kind"] == kind)
    change(one)
    assert refused(one, NEWEST)


# --- the rules of pods ---------------------------------------------------------------------------------------------------


def gateway_of(deployment: Resource) -> Resource:
    """The gateway's container of a Deployment."""
    pod = pod_of(deployment)
    assert pod is not None
    return next(one for one in containers(pod) if one["name"] == GATEWAY)


def with_gateway(resources: list[Resource]) -> Resource:
    """The Deployment that the gateway runs in."""
    pods = [(one, pod_of(one)) for one in resources]
    return next(one for one, pod in pods if pod and any(box["name"] == GATEWAY for box in containers(pod)))


def settings_of(deployment: Resource, resources: list[Resource], folder: Path) -> Settings:
    """The gateway's configuration as its container loads it. Raises `SettingsError`."""
    pod = pod_of(deployment)
    assert pod is not None
    names = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    (data,) = [
        named(resources)["ConfigMap", name]["data"] for name in names if "gateway.yaml" in _data(resources, name)
    ]
    secrets = "/run/secrets/fhir-gateway"
    for name in re.findall(rf"{secrets}/([\w.-]+)", data["gateway.yaml"]):
        (folder / name).write_bytes(bytes(range(32)))
    path = folder / "gateway.yaml"
    path.write_text(data["gateway.yaml"].replace(secrets, str(folder)))
    given = {one["name"]: one.get("value", "pod-0") for one in gateway_of(deployment)["env"]}
    return load(path, {name: value.replace("$(POD_NAME)", "pod-0") for name, value in given.items()})


def _data(resources: list[Resource], name: str) -> dict[str, str]:
    return named(resources)["ConfigMap", name]["data"]


def faults(deployment: Resource, settings: Settings) -> set[str]:
    """Which rules of a hardened, well-behaved pod the gateway's one breaks."""
    pod = pod_of(deployment)
    assert pod is not None
    box = gateway_of(deployment)
    sidecar = box.get("restartPolicy") == "Always"
    both = ({} if sidecar else pod.get("securityContext", {})) | box["securityContext"]
    probes = {name: box.get(f"{name}Probe", {}).get("httpGet", {}) for name in ("startup", "liveness", "readiness")}
    writable = [one["mountPath"] for one in box["volumeMounts"] if not one.get("readOnly")]
    bounded = {one["name"] for one in pod["volumes"] if one.get("emptyDir", {}).get("sizeLimit")}
    token = [one for one in box["volumeMounts"] if one["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"]
    limits = settings.server.limits
    ending = box["lifecycle"]["preStop"]["sleep"]["seconds"] + limits.drain_delay + limits.drain + MARGIN
    rules = {
        "no root": both.get("runAsNonRoot") is True and both.get("runAsUser", 0) > 0 and both.get("runAsGroup", 0) > 0,
        "nothing is written beside its volumes": both.get("readOnlyRootFilesystem") is True and "/tmp" in writable,
        "no capabilities": both.get("capabilities") == {"drop": ["ALL"]},
        "no way to more rights": both.get("allowPrivilegeEscalation") is False and not both.get("privileged"),
        "system calls are filtered": both.get("seccompProfile") == {"type": "RuntimeDefault"},
        "no token": bool(token) if sidecar else pod.get("automountServiceAccountToken") is False,
        "probes mean what they are for": probes
        == {
            name: {"path": path, "port": settings.admin.port}
            for name, path in (("startup", "/startupz"), ("liveness", "/livez"), ("readiness", "/readyz"))
        },
        "memory is bounded": "memory" in box["resources"]["limits"] and "memory" in box["resources"]["requests"],
        "processor time is not": "cpu" in box["resources"]["requests"] and "cpu" not in box["resources"]["limits"],
        "the spool is bounded": {one["name"] for one in box["volumeMounts"] if one["mountPath"] == "/tmp"} <= bounded,
        "there is time to end": ending <= pod.get("terminationGracePeriodSeconds", 30),
        "the kubelet reaches the probes": settings.admin.host == "0.0.0.0",
        "readers of other pods do not come around it": settings.server.host == ("127.0.0.1" if sidecar else "0.0.0.0"),
        "a release is named": not re.search(r":latest$|^[^:@]+$", box["image"].rpartition("/")[2]),
    }
    return {rule for rule, kept in rules.items() if not kept}


def test_the_gateways_pod_keeps_every_rule(example: list[Resource], tmp_path: Path):
    deployment = with_gateway(example)
    assert faults(deployment, settings_of(deployment, example, tmp_path)) == set()


def at(path: str, value: Any) -> Callable[[Resource], None]:
    """A change of the gateway's container, or of its pod behind "pod/"; None takes something away."""

    def change(deployment: Resource) -> None:
        where: Any = pod_of(deployment) if path.startswith("pod/") else gateway_of(deployment)
        *way, last = path.removeprefix("pod/").split("/")
        for key in way:
            where = where[key]
        if value is None:
            del where[last]
        else:
            where[last] = value

    return change


@pytest.mark.parametrize(
    ("example_name", "change", "rule"),
    [
        ("sidecar", at("securityContext/runAsNonRoot", None), "no root"),
        ("sidecar", at("securityContext/runAsUser", 0), "no root"),
        ("replicas", at("pod/securityContext/runAsNonRoot", False), "no root"),
        ("sidecar", at("securityContext/readOnlyRootFilesystem", False), "nothing is written beside its volumes"),
        ("sidecar", at("securityContext/capabilities", {"drop": ["NET_RAW"]}), "no capabilities"),
        ("sidecar", at("securityContext/allowPrivilegeEscalation", None), "no way to more rights"),
        ("replicas", at("pod/securityContext/seccompProfile", None), "system calls are filtered"),
        ("replicas", at("pod/automountServiceAccountToken", True), "no token"),
        ("sidecar", lambda one: gateway_of(one)["volumeMounts"].pop(), "no token"),
        ("sidecar", at("livenessProbe/httpGet/path", "/readyz"), "probes mean what they are for"),
        ("sidecar", at("readinessProbe/httpGet/port", 8081), "probes mean what they are for"),
        ("sidecar", at("resources/limits", {}), "memory is bounded"),
        ("sidecar", at("resources/limits/cpu", "1"), "processor time is not"),
        ("replicas", at("pod/terminationGracePeriodSeconds", 30), "there is time to end"),
        ("sidecar", at("lifecycle/preStop/sleep/seconds", 20), "there is time to end"),
        ("sidecar", at("image", "registry.trust.local:5000/fhir-document-gateway"), "a release is named"),
    ],
)
def test_a_broken_rule_is_noticed(example_name: str, change: Callable[[Resource], None], rule: str, tmp_path: Path):
    resources = copy.deepcopy(render(KUBERNETES / "examples" / example_name))
    deployment = with_gateway(resources)
    settings = settings_of(deployment, resources, tmp_path)
    change(deployment)
    assert rule in faults(deployment, settings)


# --- names lead somewhere ------------------------------------------------------------------------------------------------


REFERENCES = (("ConfigMap", "configMap", "name"), ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"))
"""Kinds that a volume may be made of, with where it names one."""


def lost(resources: list[Resource]) -> list[str]:
    """Names and labels that lead to nothing of the rendered manifests."""
    known, found = named(resources), []
    pods = [one["spec"]["template"] for one in resources if one["kind"] == "Deployment"]
    for template in pods:
        volumes = {one["name"]: one for one in template["spec"].get("volumes", ())}
        for box in containers(template["spec"]):
            found += [f"volume {one['name']}" for one in box.get("volumeMounts", ()) if one["name"] not in volumes]
        for one in volumes.values():
            for kind, key, name in REFERENCES:
                if key in one and (kind, one[key][name]) not in known:
                    found.append(f"{kind} {one[key][name]}")
            # The one thing that is made by hand, since it is no matter for a repository.
            if "secret" in one and one["secret"]["secretName"] != GATEWAY:
                found.append(f"Secret {one['secret']['secretName']}")
    for one in resources:
        spec = one.get("spec", {})
        wanted = {
            "Service": spec.get("selector"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
            "PodDisruptionBudget": (spec.get("selector") or {}).get("matchLabels"),
        }.get(one["kind"])
        if wanted and not any(wanted.items() <= pod["metadata"]["labels"].items() for pod in pods):
            found.append(f"{one['kind']} {one['metadata']['name']} selects nothing")
        if one["kind"] == "ServiceMonitor":
            (port,) = [endpoint["port"] for endpoint in spec["endpoints"]]
            found += (
                [] if any(_monitored(spec, other, port) for other in resources) else ["ServiceMonitor finds nothing"]
            )
    return found


def _monitored(spec: dict[str, Any], service: Resource, port: str) -> bool:
    labels = service["metadata"].get("labels", {}).items()
    return (
        service["kind"] == "Service"
        and spec["selector"]["matchLabels"].items() <= labels
        and port in [one["name"] for one in service["spec"]["ports"]]
    )


def test_every_name_leads_somewhere(example: list[Resource]):
    assert lost(example) == []


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("Deployment", at("volumeMounts", [{"name": "nowhere"}]), "volume nowhere"),
        ("Service", lambda one: one["spec"]["selector"].update({"fhir-gateway/metrics": "no"}), "selects nothing"),
        ("Service", lambda one: one["metadata"].update(labels={}), "ServiceMonitor finds nothing"),
        ("NetworkPolicy", lambda one: one["spec"]["podSelector"]["matchLabels"].update(x="y"), "selects nothing"),
        ("PodDisruptionBudget", lambda one: one["spec"]["selector"]["matchLabels"].update(x="y"), "selects nothing"),
        ("ConfigMap", lambda one: one["metadata"].update(name="other"), "ConfigMap fhir-gateway-"),
    ],
)
def test_a_name_that_leads_nowhere_is_noticed(kind: str, change: Callable[[Resource], object], said: str):
    resources = render(KUBERNETES / "examples" / "sidecar")
    change(next(one for one in resources if one["kind"] == kind))
    assert said in " ".join(lost(resources))


# --- configurations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_secret_that_is_made_by_hand_holds_what_the_configuration_names(name: str):
    folder = KUBERNETES / "examples" / name
    needed = set(re.findall(r"/run/secrets/fhir-gateway/([\w.-]+)", (folder / "gateway.yaml").read_text()))
    made = set(re.findall(r"--from-file=([\w.-]+)", (folder / "kustomization.yaml").read_text()))
    assert needed == made


def test_the_admin_port_is_closed_to_all_but_prometheus(example: list[Resource], tmp_path: Path):
    deployment = with_gateway(example)
    port = settings_of(deployment, example, tmp_path).admin.port
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    policies = [
        one["spec"]
        for one in example
        if one["kind"] == "NetworkPolicy" and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ]
    assert policies
    assert all("Ingress" in one["policyTypes"] for one in policies)
    opening = [
        rule for one in policies for rule in one["ingress"] if any(_covers(range_, port) for range_ in rule["ports"])
    ]
    assert [rule["from"] for rule in opening] == [
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    ]


def _covers(ports: dict[str, Any], port: int) -> bool:
    return ports["protocol"] == "TCP" and ports["port"] <= port <= ports.get("endPort", ports["port"])


def test_the_base_can_be_served_too(tmp_path: Path):
    """Its configuration is what an installation starts from."""
    resources = render(KUBERNETES / "base")
    deployment = with_gateway(resources)
    assert settings_of(deployment, resources, tmp_path).cache.backend == "redis"
