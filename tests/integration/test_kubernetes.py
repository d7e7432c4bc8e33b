"""The gateway's container of each Kubernetes example, as a process: it starts with its archive away, and its probes say so.

Configuration and environment are those of the rendered manifests; only ports and places are this machine's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.meta.test_kubernetes import gateway_of, with_gateway
from tests.support.gateway import serving
from tests.support.kustomize import EXAMPLES, KUBERNETES, render
from tests.support.ports import free_port

SECRETS = "/run/secrets/fhir-gateway"

WITHOUT_ARCHIVE = {"sidecar": 503, "replicas": 401}
"""What a reader without a token gets."""


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_starts_and_is_ready_whether_its_archive_answers_or_not(name: str, tmp_path: Path):
    resources = render(KUBERNETES / "examples" / name)
    box = gateway_of(with_gateway(resources))
    (text,) = [one["data"]["gateway.yaml"] for one in resources if "gateway.yaml" in one.get("data", {})]
    for secret in re.findall(rf"{SECRETS}/([\w.-]+)", text):
        (tmp_path / secret).write_bytes(bytes(range(32)))
    # Names that no resolver has to be asked for; nobody listens there.
    path = tmp_path / "gateway.yaml"
    path.write_text(
        re.sub(r"[\w-]+\.trust\.local(?=/|$)", "127.0.0.1", text.replace(SECRETS, str(tmp_path)), flags=re.M)
    )
    given = {one["name"]: one.get("value", "pod-0") for one in box["env"]}
    given = {
        key: value.replace("/var/lib/fhir-gateway/$(POD_NAME)", f"{tmp_path}/audit") for key, value in given.items()
    }
    admin = free_port()
    here = {"GATEWAY__SERVER__HOST": "127.0.0.1", "GATEWAY__SERVER__PORT": "0", "GATEWAY__ADMIN__HOST": "127.0.0.1"}
    here |= {"GATEWAY__ADMIN__PORT": str(admin), "GATEWAY__SERVER__LIMITS__DRAIN_DELAY": "0s"}
    with serving(path, tmp_path / "gateway", environ=os.environ | given | here) as gateway:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = box[probe]["httpGet"]
            with urlopen(f"http://127.0.0.1:{admin}{asked['path']}", timeout=box[probe]["timeoutSeconds"]) as answer:
                assert answer.status == 200, probe
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{gateway.url}/R4/Binary/letter-0", timeout=20)
        with refused.value as answer:
            assert answer.status == WITHOUT_ARCHIVE[name]
        assert gateway.terminate() == 0
