"""Ticks of a landing sensor, evaluated one after the other as in a code server.

Takes the sensor's cursor; prints, as JSON, the seconds of each tick, the last cursor, how many runs
the last tick requested, and the most memory that the process had. It imports nothing else, because
that would count as the sensor's memory.
"""

import json
import sys
import time

import dagster as dg

from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import customers_landing_sensor
from partitioned_etl.defs.resources import resources
from peak_memory import read_peak_bytes

TICKS = 5


def evaluate_ticks(cursor: str | None) -> None:
    """Evaluate ticks, and print what they took."""
    repository = defs.get_repository_def()
    seconds, latest, requested = [], cursor, 0
    with dg.DagsterInstance.get() as instance:
        instance_ref = instance.get_ref()
        for _ in range(TICKS):
            started = time.perf_counter()
            with dg.build_sensor_context(
                instance=instance,
                instance_ref=instance_ref,
                cursor=cursor,
                repository_def=repository,
                resources=resources,
            ) as context:
                ticked = customers_landing_sensor.evaluate_tick(context)
            seconds.append(time.perf_counter() - started)
            latest = ticked.cursor or latest
            requested = len(ticked.run_requests or [])
    megabytes = read_peak_bytes() / 1e6
    told = {"seconds": seconds, "cursor": latest, "runs": requested, "megabytes": megabytes}
    print(json.dumps(told))


if __name__ == "__main__":
    evaluate_ticks(sys.argv[1] or None)
