"""The part of Kustomize that deploy/kubernetes uses, so that its manifests are checked where there is no kubectl.

    render(PROJECT / "deploy" / "kubernetes" / "examples" / "sidecar")

Understands resources, components, configMapGenerator, strategic merge patches with a target, namespace, images and
replicas, and refuses everything else. Where kubectl is there, tests compare what it makes with what this makes.
`python -m tests.support.kustomize` writes deploy/kubernetes/rendered, and the alarms for the Prometheus Operator.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
KUBERNETES = PROJECT / "deploy" / "kubernetes"
EXAMPLES = sorted(path.name for path in (KUBERNETES / "examples").iterdir())

Resource = dict[str, Any]

KEYS = {
    "apiVersion", "kind", "resources", "components", "configMapGenerator", "patches", "namespace", "images", "replicas",
}  # fmt: skip

MERGED_BY = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""Lists whose entries a strategic merge patch finds by a key (patchMergeKey of the Kubernetes API types)."""

GENERATED = "generated"


def render(folder: Path) -> list[Resource]:
    """What `kubectl kustomize FOLDER` prints, in no particular order. Raises `ValueError` for what is not understood."""
    resources = _build(folder, [])
    names = {}
    for resource in resources:
        if resource.pop(GENERATED, False):
            name = resource["metadata"]["name"]
            names[name] = f"{name}-{_suffix(resource)}"
            resource["metadata"]["name"] = names[name]
    for pod in filter(None, map(pod_of, resources)):
        for volume in pod.get("volumes", ()):
            if "configMap" in volume:
                volume["configMap"]["name"] = names.get(volume["configMap"]["name"], volume["configMap"]["name"])
    return resources


def pod_of(resource: Resource) -> Resource | None:
    """The pod specification of a Deployment; None of other resources."""
    return resource["spec"]["template"]["spec"] if resource["kind"] == "Deployment" else None


def _build(folder: Path, resources: list[Resource]) -> list[Resource]:
    said = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := said.keys() - KEYS:
        raise ValueError(f"{folder}: not understood: {', '.join(sorted(unknown))}")
    for name in said.get("resources", ()):
        path = folder / name
        resources += _build(path, []) if path.is_dir() else read(path)
    for generator in said.get("configMapGenerator", ()):
        _generate(generator, folder, resources)
    for name in said.get("components", ()):
        resources = _build(folder / name, resources)
    for patch in said.get("patches", ()):
        (change,) = read(folder / patch["path"])
        found = [one for one in resources if _is_target(one, patch["target"])]
        if not found:
            raise ValueError(f"{folder}: no resource is the target of {patch['path']}")
        for one in found:
            name = one["metadata"]["name"]
            _merge(one, change)
            one["metadata"]["name"] = name
    for one in resources:
        _transform(one, said)
    return resources


def read(path: Path) -> list[Resource]:
    """The documents of a YAML file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def _generate(generator: dict[str, Any], folder: Path, resources: list[Resource]) -> None:
    data = {Path(name).name: (folder / name).read_text() for name in generator["files"]}
    existing = [one for one in resources if one.get(GENERATED) and one["metadata"]["name"] == generator["name"]]
    if generator.get("behavior", "create") == "replace":
        (existing[0])["data"] = data
        return
    if existing:
        raise ValueError(f"{folder}: the ConfigMap {generator['name']} is there already")
    metadata = {"name": generator["name"]}
    resources.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, GENERATED: True})


def _is_target(resource: Resource, target: dict[str, str]) -> bool:
    label, _, value = target["labelSelector"].partition("=")
    return resource["kind"] == target["kind"] and resource["metadata"].get("labels", {}).get(label) == value


def _merge(base: Any, patch: Any) -> Any:
    """`base`, changed in place by a strategic merge patch; new entries of lists come first."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        elif key in MERGED_BY and isinstance(base.get(key), list):
            mark = MERGED_BY[key]
            for entry in reversed(value):
                same = next((one for one in base[key] if one[mark] == entry[mark]), None)
                base[key].insert(0, entry) if same is None else _merge(same, entry)
        else:
            base[key] = value
    return base


def _transform(resource: Resource, said: dict[str, Any]) -> None:
    if "namespace" in said:
        resource["metadata"]["namespace"] = said["namespace"]
    pod = pod_of(resource)
    if pod is None:
        return
    for replicas in said.get("replicas", ()):
        if resource["metadata"]["name"] == replicas["name"]:
            resource["spec"]["replicas"] = replicas["count"]
    for image in said.get("images", ()):
        for container in containers(pod):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"


def containers(pod: Resource) -> Iterator[Resource]:
    """All containers of a pod, those that start before others first."""
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def _suffix(resource: Resource) -> str:
    """What Kustomize puts behind the name of a generated ConfigMap: ten letters and digits of a digest of its data."""
    # Its name is no part of it, as comparing with kubectl 1.32 showed.
    said = {"data": dict(sorted(resource["data"].items())), "kind": "ConfigMap", "name": ""}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":  # as Go writes them
        text = text.replace(character, f"\\u{ord(character):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


# --- the rendered examples ---------------------------------------------------------------------------------------------

HEADER = """\
# What deploy/kubernetes/examples/{name} comes to, to be read and compared; apply the example itself.
# Written by `python -m tests.support.kustomize`.
"""


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: text of several lines as a block, and nothing named once and referred to later."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def written(name: str) -> str:
    """The text of rendered/{name}.yaml."""
    resources = sorted(render(KUBERNETES / "examples" / name), key=lambda one: (one["kind"], one["metadata"]["name"]))
    return HEADER.format(name=name) + yaml.dump_all(resources, Dumper=_Dumper, sort_keys=False, width=120)


RULE = KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml"


def prometheus_rule() -> str:
    """The text of `RULE`: the alarms of deploy/monitoring as the Prometheus Operator wants them."""
    rules = (PROJECT / "deploy" / "monitoring" / "alerts.yaml").read_text()
    groups = "".join(f"  {line}\n" for line in rules[rules.index("groups:") :].splitlines())
    return f"""\
# The alarms of deploy/monitoring/alerts.yaml for the Prometheus Operator. Written by `python -m tests.support.kustomize`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fhir-gateway
spec:
{groups}"""


if __name__ == "__main__":
    RULE.write_text(prometheus_rule())
    for name in EXAMPLES:
        (KUBERNETES / "rendered" / f"{name}.yaml").write_text(written(name))
    sys.exit(0)
