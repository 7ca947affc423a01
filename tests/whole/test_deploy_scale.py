"""The files that deploy Milvus and Ray are valid, name settings that are there, and hold what they say."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from node.settings import PREFIX, Settings
from tests.support.documents import DOCS

DEPLOY = DOCS.parent / "deploy"
CHART = DEPLOY / "helm" / "lookalike"


def rendered(template: str, **values: Any) -> list[dict[str, Any]]:
    """Documents that Helm makes of a template, with chosen values."""
    helm = pytest.importorskip("helm_python", reason="Helm as a library has no build for this machine")
    with helm.Chart.load(CHART) as chart:
        found = chart.render(values=values, name="lookalike", namespace="pacs")
    return [document for document in yaml.safe_load_all(found[f"lookalike/templates/{template}"]) if document]


def settings_of(environment: dict[str, str]) -> Settings:
    chosen: Any = {name.removeprefix(PREFIX).lower(): text for name, text in environment.items()}
    return Settings(**chosen)


def test_the_chart_starts_nodes_that_search_in_its_milvus() -> None:
    node, _, service = rendered("node.yaml")

    (container,) = node["spec"]["template"]["spec"]["containers"]
    settings = settings_of({one["name"]: one["value"] for one in container["env"]})

    assert (settings.index, settings.milvus_uri) == ("milvus", "http://lookalike-milvus:19530")
    assert settings.milvus_shared
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}


def test_a_chart_without_milvus_starts_nodes_that_search_their_own_database() -> None:
    node, *_ = rendered("node.yaml", milvus={"enabled": False})

    (container,) = node["spec"]["template"]["spec"]["containers"]
    assert settings_of({one["name"]: one["value"] for one in container["env"]}).index == "local"


def test_a_node_gets_the_gpus_and_the_place_that_are_chosen() -> None:
    chosen = {"gpu": 2, "nodeSelector": {"pool": "gpu"}, "storageClass": "fast"}
    node, *_ = rendered("node.yaml", node=chosen)
    plain, *_ = rendered("node.yaml")

    pod = node["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert node["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    assert "nvidia.com/gpu" not in plain["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize("values", [{}, {"milvus": {"enabled": False}}, {"node": {"gpu": 1}, "ray": {"workers": 3}}])
@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_what_helm_renders_is_valid_for_kubernetes(version: str, values: dict[str, Any]) -> None:
    documents = [one for template in ("node.yaml", "ray.yaml") for one in rendered(template, **values)]

    assert {one["kind"] for one in documents} >= {"StatefulSet", "Deployment", "Service", "PodDisruptionBudget"}
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize(
    "values", [{"node": {"gpu": "one"}}, {"node": {"memmory": "8Gi"}}, {"node": {"memory": "lots"}}]
)
def test_values_that_mean_nothing_are_refused(values: dict[str, Any]) -> None:
    helm = pytest.importorskip("helm_python", reason="Helm as a library has no build for this machine")
    with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError):
        chart.validate_schema(values)


def test_the_workers_of_the_chart_find_its_ray() -> None:
    head, worker, service = rendered("ray.yaml")

    (container,) = worker["spec"]["template"]["spec"]["containers"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]

    assert f"--address={name}:{port}" in container["command"]
    assert service["spec"]["selector"] == head["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("document", ["node.yaml", "ray.yaml"])
def test_no_container_of_the_chart_runs_as_root(document: str) -> None:
    for one in rendered(document):
        if "template" in one["spec"]:
            pod = one["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert all(not each["securityContext"]["allowPrivilegeEscalation"] for each in pod["containers"])


def test_the_containers_with_milvus_publish_nothing_and_name_settings_that_are_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "milvus.yml").read_text())["services"]

    settings = settings_of(services["lookalike"]["environment"])

    assert settings.index == "milvus"
    assert settings.milvus_uri.removeprefix("http://").split(":")[0] in services
    assert not any("ports" in service for service in services.values())
