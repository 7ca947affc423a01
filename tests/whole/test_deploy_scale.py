"""The files that deploy Milvus and Ray are valid, name settings that are there, and hold what they say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.settings import PREFIX, Settings
from tests.support.documents import DOCS

DEPLOY = DOCS.parent / "deploy"
CHART = DEPLOY / "helm" / "lookalike"


def rendered(template: Path) -> list[dict[str, Any]]:
    """Documents of a template that holds values and the name of the release, and nothing else."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def value(expression: re.Match[str]) -> str:
        name = expression[1]
        if name == ".Release.Name":
            return "lookalike"
        found = values
        for part in name.removeprefix(".Values.").split("."):
            found = found[part]
        return str(found).lower() if isinstance(found, bool) else str(found)

    return list(yaml.safe_load_all(re.sub(r"{{ (\S+) }}", value, template.read_text())))


def settings_of(environment: dict[str, str]) -> Settings:
    chosen: Any = {name.removeprefix(PREFIX).lower(): text for name, text in environment.items()}
    return Settings(**chosen)


def test_the_chart_starts_nodes_that_search_in_its_milvus() -> None:
    node, service = rendered(CHART / "templates" / "node.yaml")

    (container,) = node["spec"]["template"]["spec"]["containers"]
    settings = settings_of({one["name"]: one["value"] for one in container["env"]})

    assert (settings.index, settings.milvus_uri) == ("milvus", "http://lookalike-milvus:19530")
    assert settings.milvus_shared
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}


def test_the_workers_of_the_chart_find_its_ray() -> None:
    head, worker, service = rendered(CHART / "templates" / "ray.yaml")

    (container,) = worker["spec"]["template"]["spec"]["containers"]
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]

    assert f"--address={name}:{port}" in container["command"]
    assert service["spec"]["selector"] == head["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("document", ["node.yaml", "ray.yaml"])
def test_no_container_of_the_chart_runs_as_root(document: str) -> None:
    for one in rendered(CHART / "templates" / document):
        if one["kind"] != "Service":
            pod = one["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            assert all(not each["securityContext"]["allowPrivilegeEscalation"] for each in pod["containers"])


def test_the_containers_with_milvus_publish_nothing_and_name_settings_that_are_there() -> None:
    services = yaml.safe_load((DEPLOY / "compose" / "milvus.yml").read_text())["services"]

    settings = settings_of(services["lookalike"]["environment"])

    assert settings.index == "milvus"
    assert settings.milvus_uri.removeprefix("http://").split(":")[0] in services
    assert not any("ports" in service for service in services.values())
