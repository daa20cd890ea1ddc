"""Settings of the workers: `dagster_celery.app`, which they start, reads a module of this name."""

from os import environ

broker_url = result_backend = environ["CELERY_BROKER_URL"]
broker_connection_retry_on_startup = True

# A step leaves the queue when it has ended. If it has not after so many seconds, its worker counts
# as lost, and another one executes it.
task_acks_late = True
broker_transport_options = {"visibility_timeout": 900, "unacked_restore_throttle": 1}
# A worker takes no step that it cannot begin at once, and ends one before another worker gets it.
worker_prefetch_multiplier = 1
task_time_limit = 840
