"""The manifests of deploy/kubernetes: valid by Kubernetes' schemas, and in step with the rest."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from front import ROOT

from api.app import ROUTES
from api.settings import Settings, read_settings
from melanoma.serve import GRACE_SECONDS, LAST_SECONDS

FOLDER = ROOT / "deploy" / "kubernetes"
RESOURCES: dict[str, dict[str, Any]] = {
    resource["kind"]: resource
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for resource in yaml.safe_load_all(path.read_text())
}
POD: dict[str, Any] = RESOURCES["Deployment"]["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_manifest_is_what_kubernetes_knows_and_no_field_is_misspelled(kind: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    validate.validate(RESOURCES[kind], desired_version=validate.latest_version(), strict=True)


def test_a_misspelled_field_would_be_seen() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    broken = yaml.safe_load(yaml.safe_dump(RESOURCES["Service"]))
    broken["spec"]["ports"][0]["targetPorts"] = broken["spec"]["ports"][0].pop("targetPort")
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, desired_version=validate.latest_version(), strict=True)


def test_kustomize_takes_every_manifest() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in FOLDER.glob("*.yaml")} == {*listed, "kustomization.yaml"}


def test_all_mean_the_same_pods() -> None:
    labels = RESOURCES["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert RESOURCES["Deployment"]["spec"]["selector"] == {"matchLabels": labels}
    assert RESOURCES["Service"]["spec"]["selector"] == labels
    assert RESOURCES["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": labels}
    assert RESOURCES["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": labels}
    name = RESOURCES["Deployment"]["metadata"]["name"]
    assert RESOURCES["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    # The autoscaler's number would be set back at each apply.
    assert "replicas" not in RESOURCES["Deployment"]["spec"]
    [port] = CONTAINER["ports"]
    [served] = RESOURCES["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert RESOURCES["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]


def test_it_runs_as_the_image_s_user_without_rights_and_writes_to_memory_alone() -> None:
    user = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert POD["securityContext"]["runAsUser"] == int(user)
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    for mount in CONTAINER["volumeMounts"]:
        in_memory = volumes[mount["name"]].get("emptyDir", {}).get("medium") == "Memory"
        assert mount.get("readOnly") or in_memory, mount
    assert RESOURCES["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in RESOURCES["NetworkPolicy"]["spec"], "it asks nobody"


def test_its_settings_are_the_service_s_own() -> None:
    given = {entry["name"]: entry.get("value", "") for entry in CONTAINER["env"]}
    assert given["PORT"] == str(CONTAINER["ports"][0]["containerPort"])
    known = {f"MELANOMA_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert {name for name in given if name.startswith("MELANOMA_")} <= known
    mounted = [m["mountPath"] for m in CONTAINER["volumeMounts"] if m.get("readOnly")]
    assert [str(path) for path in read_settings(given).weights] == mounted


def test_the_page_says_how_the_built_image_gets_the_name_that_is_asked_for() -> None:
    version = re.findall(r"^version = (.+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[0]
    assert CONTAINER["image"] == f"melanoma:{version}"
    [built] = re.findall(r"NAME:-(.+)}", (ROOT / "deploy" / "image.sh").read_text())
    page = (ROOT / "docs" / "how-to" / "scale.md").read_text()
    assert f"docker tag {built} {CONTAINER['image']}" in page


def test_the_probes_ask_what_there_is_and_a_stop_has_its_time() -> None:
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert CONTAINER[probe]["httpGet"]["path"] in ROUTES.pages
    # Alive is not ready: one that drains, or whose golden score differs, is not killed for it.
    assert CONTAINER["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert CONTAINER["readinessProbe"]["httpGet"]["path"] == "/readyz"
    [_, waited] = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    needed = int(waited) + GRACE_SECONDS + LAST_SECONDS
    assert POD["terminationGracePeriodSeconds"] > needed
    rolling = RESOURCES["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 1, "maxUnavailable": 0}
    assert RESOURCES["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > 1
