"""What `deploy/` holds agrees with itself, and with the instance of a checkout."""

import json
import re
import runpy
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from partitioned_etl.engine.settings import Settings
from support.dev_server import PROJECT

DEPLOY = PROJECT / "deploy"
CELERY, COMPOSE = DEPLOY / "celery", DEPLOY / "docker-compose"
VALUES = "deploy/kubernetes/values.yaml"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))


def to_snake_case(values: Any) -> Any:
    """Return values with their keys as the chart's templates write them into dagster.yaml."""
    if not isinstance(values, dict):
        return values
    return {
        re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", key): to_snake_case(value)
        for key, value in values.items()
    }


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("one-machine", {"storage"}),
        (
            "docker-compose",
            {"storage", "run_launcher", "compute_logs", "local_artifact_storage"},
        ),
        ("celery", {"storage", "compute_logs", "run_monitoring"}),
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
    # What runs as user etl must be able to write there.
    assert instance["local_artifact_storage"]["config"]["base_dir"].startswith("/tmp/")
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


def test_a_step_ends_before_its_worker_counts_as_lost_and_that_before_its_run_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://redis.example")
    config = runpy.run_path(str(CELERY / "dagster_celery_config.py"))
    monitoring = read("deploy/celery/dagster.yaml")["run_monitoring"]
    longest = config["task_time_limit"]
    lost_after = config["broker_transport_options"]["visibility_timeout"]
    assert longest < lost_after < monitoring.pop("max_runtime_seconds")
    ours = read("dagster.yaml")["run_monitoring"]
    assert monitoring.items() <= ours.items()
    worker = (CELERY / "partitioned-etl-worker@.service").read_text(encoding="utf-8")
    assert int(*re.findall(r"^TimeoutStopSec=(.*)$", worker, re.MULTILINE)) >= longest
    readme = (CELERY / "README.md").read_text(encoding="utf-8")
    assert f"{lost_after // 60} minutes after it took a step" in readme
    assert f"A step may take {longest // 60} minutes" in readme


def test_the_services_of_celery_agree_with_one_another() -> None:
    units = {path.stem: path.read_text("utf-8") for path in CELERY.glob("*.service")}
    assert len(units) == 4
    [server] = read("deploy/celery/workspace.yaml")["load_from"]
    command = "dagster api grpc --host {host} --port {port} --module-name celery_location"
    assert f"/{command.format_map(server['grpc_server'])}\n" in units["partitioned-etl-code"]
    home = "/opt/partitioned-etl/deploy/celery"
    for unit in units.values():
        assert f"\nEnvironment=DAGSTER_HOME={home} PYTHONPATH={home}\n" in unit
        assert "\nEnvironmentFile=/opt/partitioned-etl/.env\n" in unit
    lines = (CELERY / "env.example").read_text(encoding="utf-8").splitlines()
    named = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert named["DAGSTER_HOME"] == home
    known = {name.upper() for name in Settings.model_fields} | {"CELERY_BROKER_URL"}
    assert {name for name in named if not name.startswith(("DAGSTER", "PG", "AWS"))} <= known


def test_celery_executes_the_steps_of_every_job() -> None:
    definitions = runpy.run_path(str(CELERY / "celery_location.py"))["defs"]
    jobs = [definitions.resolve_job_def(job.name) for job in definitions.jobs]
    assert {job.executor_def.name for job in jobs} == {"celery"}


def test_the_values_of_the_chart_start_the_image_as_it_starts_itself() -> None:
    values = read(VALUES)
    [code] = values["dagster-user-deployments"]["deployments"]
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    [command] = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    port = str(code["port"])
    # The chart puts this in front of the arguments.
    start = ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", port]
    assert json.loads(command) == [*start, *code["dagsterApiGrpcArgs"]]
    assert f"EXPOSE {port}\n" in dockerfile
    webserver = values["dagsterWebserver"]
    assert code["image"] == webserver["image"] == values["dagsterDaemon"]["image"]
    assert webserver["service"]["port"] == webserver["readinessProbe"]["httpGet"]["port"]
    lock = (DEPLOY / "image.lock").read_text(encoding="utf-8")
    [version] = re.findall(r"^dagster==(\S+)", lock, re.MULTILINE)
    texts = [
        (DEPLOY / "kubernetes" / name).read_text("utf-8") for name in ("README.md", "values.yaml")
    ]
    assert {*re.findall(r"version (\d+\.\d+\.\d+)", "".join(texts))} == {version}


def test_the_values_of_the_chart_name_known_settings_and_no_password() -> None:
    values = read(VALUES)
    [code] = values["dagster-user-deployments"]["deployments"]
    environment, database = code["env"], values["postgresql"]
    known = {name.upper() for name in Settings.model_fields}
    assert {name for name in environment if not name.startswith(("PG", "AWS"))} <= known
    assert environment["STAGING_DIR"] == code["volumeMounts"][0]["mountPath"]
    address = urlsplit(environment["WAREHOUSE"])
    assert (address.hostname, address.password) == (database["postgresqlHost"], None)
    assert database["postgresqlScheme"] == "postgresql+psycopg2"
    readme = (DEPLOY / "kubernetes" / "README.md").read_text(encoding="utf-8")
    made = dict(re.findall(r"create secret generic (\S+) --from-literal=([^=]+)=", readme))
    assert made == {
        values["global"]["postgresqlSecretName"]: "postgresql-password",
        code["envSecrets"][0]["name"]: "PGPASSWORD",
    }


def test_the_instance_of_the_chart_differs_from_that_of_a_checkout_only_where_it_must() -> None:
    values, ours = read(VALUES), read("dagster.yaml")
    daemon, extra = values["dagsterDaemon"], values["additionalInstanceConfig"]
    concurrency = to_snake_case(values["concurrency"])
    monitoring = to_snake_case(daemon["runMonitoring"])
    assert concurrency.pop("enabled")
    # A run in a pod could be resumed, a process of a checkout cannot.
    assert monitoring.pop("max_resume_run_attempts") == 0
    theirs = {
        "run_monitoring": monitoring,
        "concurrency": concurrency,
        "sensors": to_snake_case(daemon["sensors"]),
        "python_logs": to_snake_case(values["pythonLogs"]),
        "telemetry": values["telemetry"],
        **extra,
    }
    coordinator = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert to_snake_case(coordinator) == ours["run_coordinator"]["config"]
    assert {part for part in theirs if theirs[part] != ours[part]} == {"local_artifact_storage"}
    assert {*ours} - {*theirs} == {"storage", "compute_logs", "run_coordinator"}


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
