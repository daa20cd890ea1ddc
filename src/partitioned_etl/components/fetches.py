"""Fetches: the job that fetches what a feed's source offers, and the sensor that requests it.

Takes a feed's assets; returns a job of one step, and a sensor that looks at the source and requests
a run if it has something that the landing has not. What has been fetched has landed: the rest is
the landing sensor's. Listing and fetching themselves belong in `engine/sources/`.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import dagster as dg

from partitioned_etl.components.agenda import digest
from partitioned_etl.components.assets import FeedAssets, check_name
from partitioned_etl.components.orphans import fail_runs_without_worker
from partitioned_etl.components.resources import LandingResource
from partitioned_etl.components.runs import UNFINISHED
from partitioned_etl.components.scans import TICK_SCAN_SECONDS, LookUnderWay
from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.sources.mirror import Difference, look_at_source, mirror_source
from partitioned_etl.engine.sources.source import Remote, Source

FETCHES_TAG = "partitioned_etl/fetches"
"""Tag of jobs and sensors with the name of the feed whose source they fetch from."""
_PAUSE_SECONDS = 3600.0
"""How often the same fetch is requested once it was requested in vain `MAX_ATTEMPTS` times."""
_MOST_NAMED = 50


def source_of(assets: FeedAssets) -> Source:
    """Return the source of a feed.

    Raises:
        FeedDefinitionError: It declares none.
    """
    if assets.feed.fetched_from is None:
        reason = f"feed {assets.feed.name}: declares no source to fetch from"
        raise FeedDefinitionError(reason, attribute="source")
    return assets.feed.fetched_from


def fetch_job(definition: dg.AssetsDefinition) -> dg.JobDefinition:
    """Build the job that fetches what a feed's source offers, in one step.

    It fails if an item could not be fetched, once all others are.

    Args:
        definition: The feed's assets.

    Raises:
        FeedDefinitionError: The feed declares no source.
    """
    assets = FeedAssets.of(definition)
    feed, source = assets.feed, source_of(assets)

    @dg.op(
        name=f"fetch_{feed.name}",
        description=f"Fetches new and changed items of a source of type {source.type_name}.",
        tags={"kind": source.type_name},
    )
    def fetch(context: dg.OpExecutionContext, landing: LandingResource) -> None:
        windows = assets.partitions.list_windows()
        fetched = mirror_source(feed, landing.address_of(feed), windows.why_outside)
        found = fetched.difference
        versions = {item.name: item.version for item in found.wanted}
        rows = [
            dg.TableRecord({"file": name, "version": versions.get(name, "")})
            for name in fetched.landed[:_MOST_NAMED]
        ]
        context.log.info(f"feed {feed.name}: {fetched.describe()}")
        for line in describe_entries(feed.name, "not usable", found.passed_over):
            context.log.warning(line)
        metadata: dict[str, Any] = {
            "fetched": len(fetched.landed),
            "fetched_bytes": fetched.size_bytes,
            "not_modified": fetched.unmodified,
            "unchanged": found.unchanged,
            "removed": len(fetched.removed),
            "not_usable": len(found.passed_over),
            "failed": len(fetched.failed),
        }
        if rows:
            metadata["files"] = dg.MetadataValue.table(rows)
        if fetched.failed:
            told = describe_entries(feed.name, "not fetched", fetched.failed)
            raise dg.Failure("; ".join(told), metadata=metadata, allow_retries=False)
        context.add_output_metadata(metadata)

    @dg.job(
        name=assets.fetch_job_name,
        tags={FETCHES_TAG: feed.name},
        description=f"Fetch what the source of {feed.name} offers to `{feed.folder}/`.",
    )
    def job() -> None:
        fetch()

    return job


def describe_entries(feed_name: str, what: str, entries: list[PassedOver]) -> list[str]:
    """Return lines that say what became of items; of many, the first are named."""
    told = [f"{what}: {feed_name}: {one.name}: {one.reason}" for one in entries[:_MOST_NAMED]]
    more = len(entries) - len(told)
    return [*told, f"{what}: {feed_name}: and {more:,} more"] if more else told


@dataclass
class FetchCursor:
    """What a fetch sensor remembers between ticks.

    Attributes:
        mark: What was requested: a digest of what is to be fetched and removed.
        count: How often.
        at: When last, in seconds since 1970.
        number: A number that increases with every request; it makes run keys unique.
    """

    mark: str = ""
    count: int = 0
    at: float = 0.0
    number: int = 0

    @classmethod
    def parse(cls, text: str | None) -> "FetchCursor":
        """Read a cursor; return an empty one if it cannot be read."""
        try:
            values = json.loads(text or "{}")
            return cls(
                *(str(values["mark"]), int(values["count"])),
                *(float(values["at"]), int(values["number"])),
            )
        except (ValueError, KeyError, TypeError):
            # A cursor that was reset must not repeat run keys: Dagster never runs one twice.
            return cls(number=int(time.time()))

    def __str__(self) -> str:
        """Return the cursor as compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def ask(self, mark: str) -> bool:
        """Return whether to request now what has a mark, and remember it."""
        if mark != self.mark:
            self.mark, self.count = mark, 0
        since = time.time() - self.at
        if self.count >= MAX_ATTEMPTS and 0 <= since < _PAUSE_SECONDS:
            return False
        self.count, self.at, self.number = self.count + 1, time.time(), self.number + 1
        return True


class _Looks:
    """Looks at a feed's source that may take longer than a tick, and its connection.

    A look goes on in a thread, and a later tick takes what it found. The connection stays, so that
    it knows the pages that are unchanged.
    """

    def __init__(self, assets: FeedAssets) -> None:
        self._assets, self._lock = assets, Lock()
        self._remote: Remote | None = None
        self._under_way: LookUnderWay[Difference] | None = None

    def look(self, address: Path | str, seconds: float) -> Difference:
        """Return what a look finds.

        Raises:
            SourceError: The source cannot be listed, or it takes longer.
        """
        with self._lock:
            if self._under_way is None:
                self._remote = self._remote or source_of(self._assets).connect(self._assets.feed)
                why_outside = self._assets.partitions.list_windows().why_outside
                arguments = (self._assets.feed, address, self._remote, why_outside)
                self._under_way = LookUnderWay(partial(look_at_source, *arguments))
            look = self._under_way
        if not look.ends_within(seconds):
            name = self._assets.feed.name
            reason = f"feed {name}: its source is still being listed, for {look.seconds:.0f} s"
            raise SourceError(reason, may_pass=True)
        with self._lock:
            self._under_way = None
        return look.found.result()


def fetch_sensor(
    definition: dg.AssetsDefinition, job: dg.JobDefinition, *, name: str = ""
) -> dg.SensorDefinition:
    """Build the sensor that requests a fetch when a feed's source has something for it.

    Args:
        definition: The feed's assets.
        job: The job that fetches.
        name: The sensor's name; the feed's name and `_fetch_sensor` if empty.

    Raises:
        FeedDefinitionError: The feed declares no source, or Dagster does not accept the name.
    """
    assets = FeedAssets.of(definition)
    feed, source, looks = assets.feed, source_of(assets), _Looks(assets)
    check_name(feed, "source", name)

    @dg.sensor(
        name=name or f"{feed.name}_fetch_sensor",
        job=job,
        minimum_interval_seconds=max(1, source.every_seconds - 1),
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={FETCHES_TAG: feed.name},
        description=(
            f"Lists the source of `{feed.name}`, and requests a run that fetches what is new or "
            "changed there."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, landing: LandingResource
    ) -> dg.SensorResult | dg.SkipReason:
        instance, cursor = context.instance, FetchCursor.parse(context.cursor)
        origin = context.code_location_origin
        location_name = (origin and origin.location_name) or ""
        fail_runs_without_worker(
            instance, feed_name=feed.name, location_name=location_name, log=context.log
        )
        under_way = dg.RunsFilter(job_name=assets.fetch_job_name, statuses=UNFINISHED)
        if instance.get_runs_count(under_way):
            return dg.SkipReason(f"feed {feed.name}: a run is fetching")
        try:
            found = looks.look(landing.address_of(feed), TICK_SCAN_SECONDS)
        except SourceError as error:
            if not error.may_pass:
                raise
            return dg.SkipReason(f"{error}; the next tick tries again")
        said = describe_difference(found)
        if not found.is_something:
            cursor.mark = ""
            return dg.SensorResult(cursor=str(cursor), skip_reason=dg.SkipReason(said))
        marks = (*((one.name, one.version) for one in found.wanted), *sorted(found.gone))
        if not cursor.ask(digest(marks)):
            said += f"; requested {cursor.count} times in vain, and once an hour from now on"
            return dg.SensorResult(cursor=str(cursor), skip_reason=dg.SkipReason(said))
        context.log.info(said)
        request = dg.RunRequest(run_key=f"fetch-{cursor.number}", tags={FETCHES_TAG: feed.name})
        return dg.SensorResult(run_requests=[request], cursor=str(cursor))

    def describe_difference(found: Difference) -> str:
        return f"feed {feed.name}: {', '.join(_tell(found)) or 'nothing is offered'}"

    return sensor


def _tell(found: Difference) -> Iterator[str]:
    counts = {
        "to fetch": len(found.wanted),
        "unchanged": found.unchanged,
        "gone": len(found.gone),
        "of no partition": found.outside,
        "not usable": len(found.passed_over),
    }
    yield from (f"{count:,} {what}" for what, count in counts.items() if count)
    if found.brake:
        yield found.brake
