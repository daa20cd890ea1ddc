"""What `deploy/` holds agrees with itself, and with the instance of a checkout."""

import re
from typing import Any

import pytest
import yaml

from partitioned_etl.engine.settings import Settings
from support.dev_server import PROJECT

DEPLOY = PROJECT / "deploy"
COMPOSE = DEPLOY / "docker-compose"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("one-machine", {"storage"}),
        (
            "docker-compose",
            {"storage", "run_launcher", "compute_logs", "local_artifact_storage"},
        ),
    ],
)
def test_an_instance_differs_from_that_of_a_checkout_only_where_it_must(
    name: str, differs: set[str]
) -> None:
    ours, theirs = read("dagster.yaml"), read(f"deploy/{name}/dagster.yaml")
    assert {part for part in {*ours, *theirs} if ours.get(part) != theirs.get(part)} == differs
    assert theirs["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}


def test_the_containers_agree_with_one_another() -> None:
    compose, instance = (
        read(f"deploy/docker-compose/{name}.yaml") for name in ("compose", "dagster")
    )
    environment, launcher = compose["x-environment"], instance["run_launcher"]["config"]
    # A run needs what the code server has, but for what says where the instance is.
    own = {"DAGSTER_HOME", "DAGSTER_CURRENT_IMAGE"}
    assert {*launcher["env_vars"]} == {*environment} - own
    assert launcher["network"] == compose["networks"]["partitioned-etl"]["name"]
    known = {name.upper() for name in Settings.model_fields}
    assert {name for name in environment if not name.startswith(("DAGSTER", "AWS"))} <= known
    [server] = read("deploy/docker-compose/workspace.yaml")["load_from"]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f'"--port", "{server["grpc_server"]["port"]}"' in dockerfile
    assert server["grpc_server"]["host"] in compose["services"]
    for name, service in compose["services"].items():
        assert ("networks", ["partitioned-etl"]) in service.items(), name
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (COMPOSE / volume.split(":")[0]).is_file(), volume


def test_the_image_is_made_of_what_there_is() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        source
        for sources in re.findall(r"^COPY (.*) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    ]
    assert copied
    for source in copied:
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in allowed
