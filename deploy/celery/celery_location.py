"""The code location of the project, with the steps of its jobs executed by Celery's workers."""

from dagster_celery import celery_executor

from partitioned_etl import load_location

redis = {"env": "CELERY_BROKER_URL"}
location = load_location(
    "sample_feeds.defs",
    executor=celery_executor.configured({"broker": redis, "backend": redis}, name="celery"),
)
defs = location.definitions
