"""Ticks of a landing sensor, evaluated one after the other as in a code server.

Takes the sensor's cursor and, unless the shipped feed of 100,000 customers is meant, the pattern of
a feed, with more of its attributes as JSON; prints, as JSON, the seconds of each tick, the last
cursor, how many runs the last tick requested, and the most memory that the process had. It imports
nothing else, because that would count as the sensor's memory.
"""

import json
import sys
import time

import dagster as dg

from partitioned_etl.components.location import DEFAULT_RESOURCES
from peak_memory import read_peak_bytes

TICKS = 5


def evaluate_ticks(definitions: dg.Definitions, sensor_name: str, cursor: str | None) -> None:
    """Evaluate ticks of a sensor, and print what they took."""
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def(sensor_name)
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
                resources=DEFAULT_RESOURCES,
            ) as context:
                ticked = sensor.evaluate_tick(context)
            seconds.append(time.perf_counter() - started)
            latest = ticked.cursor or latest
            requested = len(ticked.run_requests or [])
    megabytes = read_peak_bytes() / 1e6
    told = {"seconds": seconds, "cursor": latest, "runs": requested, "megabytes": megabytes}
    print(json.dumps(told))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        from events_feed import build_feed
        from support.define import define_feed, define_location

        defined = define_feed(build_feed(sys.argv[2], **json.loads(*sys.argv[3:] or ["{}"])))
        evaluate_ticks(define_location(defined), defined.sensor.name, sys.argv[1] or None)
    else:
        from sample_feeds.definitions import defs

        evaluate_ticks(defs, "customer_prices_sensor", sys.argv[1] or None)
