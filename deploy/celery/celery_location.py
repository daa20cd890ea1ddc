"""The code location of the project, with the steps of its jobs executed by Celery's workers."""

from dagster_celery import celery_executor

from partitioned_etl.location import load

redis = {"env": "CELERY_BROKER_URL"}
location = load(celery_executor.configured({"broker": redis, "backend": redis}, name="celery"))
defs = location.definitions
