"""Landing sensor: what starts a run when files land or change.

It is level-triggered: each tick makes the feed's agenda, from landing and ledger, and requests what
is on it. The cursor only remembers what was requested and is not yet in the ledger, so a lost
cursor or a lost run costs time but no file.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import dagster as dg

from partitioned_etl.components.ad_hoc_keys import (
    MARK,
    describe_given_up_key,
    describe_unregistered,
)
from partitioned_etl.components.agenda import Agenda, Limits, digest, make_agenda, mark_of
from partitioned_etl.components.assets import AssetJob, FeedAssets, check_name
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.components.computations import tags_of_request
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.orphans import fail_runs_without_worker
from partitioned_etl.components.ranges import request_run
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.runs import list_keys_that_could_not_start
from partitioned_etl.components.scans import TICK_SCAN_SECONDS, StillScanningError
from partitioned_etl.components.wakes import Rest, Wake, find_wake, read_wake_interval
from partitioned_etl.engine.errors import LandedFileError, WarehouseLockedError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, PassedOver, group_by_key
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Action, Plan
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.unmatched import list_unmatched

TICK_LOCK_WAIT_SECONDS = 3.0
TICK_SETTLE_SECONDS = 3.0
"""The longest settle time that a tick waits out, once; a longer one is left to later ticks."""
TICK_TOUCHED_BYTES = 1 << 30
"""The most bytes that a tick reads to detect files that were only touched: about a second."""
_MAX_NAMES_LOGGED = 50
_WHY_STALE = "the feed cannot name it any more; its rows are kept until someone forgets them"


@dataclass
class LandingCursor:
    """What a landing sensor remembers between ticks.

    Attributes:
        attempts: Per key that was requested and is not in the ledger: for which version of its
            file, how often, and when last.
        basis: Digest of other causes of failed loads: the feed's definition, and whether the ledger
            has rows.
        said: Digest of the entries last reported as ignored or refused.
        reported_until: Time up to which loads are known to be reported, in seconds since 1970.
        failures_until: Time up to which failed runs were looked at, in seconds since 1970.
        requests: A number that increases with every requested run; it makes run keys unique.
        rest: For how long it rests, if notifications wake it.
        complete_until: Of a feed with `list_since_days`, time up to which nothing is left to do for
            what the next look leaves out, in seconds since 1970; 0 if it has to look at all.
    """

    attempts: Attempts = field(default_factory=Attempts)
    basis: str = ""
    said: str = ""
    reported_until: float = 0.0
    failures_until: float = 0.0
    requests: int = 0
    rest: Rest = field(default_factory=Rest)
    complete_until: float = 0.0

    def remember(self, assets: FeedAssets, plan: Plan) -> Attempts:
        """Return the attempts, except under another definition, or of a table that is lost."""
        basis = digest([assets.fingerprint, not plan.is_first])
        if self.basis and basis != self.basis:
            self.attempts, self.complete_until = Attempts(), 0.0
        self.basis = basis
        return self.attempts

    def forget_what_could_not_start(self, instance: dg.DagsterInstance, assets: FeedAssets) -> None:
        """Take back the attempts of runs that could not start."""
        if not self.attempts.of_key:
            self.failures_until = time.time()
            return
        keys, self.failures_until = list_keys_that_could_not_start(
            instance, assets, self.failures_until
        )
        self.attempts.take_back(keys)

    def find_first_name(self, feed: Feed, now: datetime) -> str:
        """Return the first name that a look is interested in; empty if that is all of them.

        After ticks that did not take place, it is that of the first of them.
        """
        if not self.complete_until:
            return ""
        until = datetime.fromtimestamp(self.complete_until, UTC)
        return find_first_name(feed, min(until, now))

    def note_look(self, feed: Feed, agenda: Agenda, now: datetime) -> None:
        """Take note that later looks may leave out what is before the window, if they may.

        Args:
            feed: The feed.
            agenda: What it led to.
            now: When it began.
        """
        if feed.list_since_days is None:
            return
        looked_at_all = not agenda.plan.first_name
        if self.complete_until or (looked_at_all and not agenda.leaves_open(feed, now)):
            self.complete_until = now.timestamp()

    @classmethod
    def parse(cls, text: str | None) -> "LandingCursor":
        """Read a cursor; return an empty one if it cannot be read."""
        try:
            values = json.loads(text or "{}")
            return cls(
                Attempts.parse(values["attempts"]["of_key"]),
                str(values["basis"]),
                str(values["said"]),
                float(values["reported_until"]),
                float(values["failures_until"]),
                int(values["requests"]),
                Rest.parse(values["rest"]) if "rest" in values else Rest(),
                float(values.get("complete_until", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def __str__(self) -> str:
        """Return the cursor as compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


def landing_sensor(
    definition: dg.AssetsDefinition, job: AssetJob, *, name: str = ""
) -> dg.SensorDefinition:
    """Build the sensor that keeps a feed's table up to date with its landing.

    Args:
        definition: The feed's assets.
        job: The feed's job.
        name: The sensor's name; the feed's name and `_sensor` if empty.

    Raises:
        FeedDefinitionError: Dagster does not accept the name.
    """
    assets = FeedAssets.of(definition)
    feed = assets.feed
    check_name(feed, "sensor", name)

    @dg.sensor(
        name=name or f"{feed.name}_sensor",
        job=job,
        minimum_interval_seconds=read_wake_interval(feed),
        default_status=dg.DefaultSensorStatus.RUNNING,
        tags={FEED_TAG: feed.name},
        description=(
            f"Compares folder `{feed.folder}/` with the ledger, registers new partition keys and "
            "requests one run for all files that are new or changed."
        ),
    )
    def sensor(
        context: dg.SensorEvaluationContext, landing: LandingResource, warehouse: WarehouseResource
    ) -> dg.SensorResult | dg.SkipReason:
        instance, cursor = context.instance, LandingCursor.parse(context.cursor)
        wake = find_wake(context, landing, feed, cursor.rest)
        if wake.is_resting:
            return dg.SkipReason(f"feed {feed.name}: {wake.describe_rest()}")
        origin = context.code_location_origin
        location_name = (origin and origin.location_name) or ""
        fail_runs_without_worker(
            instance, feed_name=feed.name, location_name=location_name, log=context.log
        )
        cursor.forget_what_could_not_start(instance, assets)
        now = datetime.now(UTC)
        limits = Limits(
            Settings().max_files_per_run,
            TICK_LOCK_WAIT_SECONDS,
            TICK_SETTLE_SECONDS,
            TICK_TOUCHED_BYTES,
            TICK_SCAN_SECONDS,
            first_name=cursor.find_first_name(feed, now),
        )
        try:
            agenda = make_agenda(
                assets,
                instance,
                landing.connect(assets.feed),
                warehouse.connect(),
                lambda plan: cursor.remember(assets, plan),
                limits,
                reported_since=cursor.reported_until,
            )
        except (WarehouseLockedError, LandedFileError) as error:
            return _skip_after(error, context, wake, feed)
        unmatched = list_unmatched(feed, agenda.plan.ignored, _list_feeds(context))
        _log_what_is_passed_over(context, assets, agenda.plan, unmatched, cursor)
        cursor.note_look(feed, agenda, now)
        cursor.reported_until = agenda.reported_until
        cursor.attempts.keep(agenda.keys_to_remember())
        cursor.rest = wake.rest_after(agenda)
        for file in agenda.choice.given_up:
            context.log.error(f"feed {feed.name}: {describe_given_up(file)}")
        for key in agenda.to_compute.given_up:
            context.log.error(f"feed {feed.name}: {describe_given_up_key(key)}")
        requests = _request_runs(assets, agenda, cursor)
        message = _describe(assets, agenda, requests, unmatched) + wake.addition
        if requests:
            context.log.info(message)
            log = context.log.error if agenda.plan.changes.is_refused else context.log.info
            for change in agenda.plan.describe_changes(feed.name):
                log(f"feed {feed.name}: {change}")
        dynamic, names = assets.partitions.dynamic, agenda.names
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[dynamic.build_add_request(names)]
            if dynamic and names
            else [],
            cursor=str(cursor),
            skip_reason=None if requests else dg.SkipReason(message),
        )

    return sensor


def describe_given_up(file: LandedFile) -> str:
    """Return a message that a file has reached `MAX_ATTEMPTS`."""
    return (
        f"{file.name} was requested {MAX_ATTEMPTS} times and neither loaded nor refused; it is "
        "requested once an hour, and when it changes. See the failed runs for the reason."
    )


def _skip_after(
    error: Exception, context: dg.SensorEvaluationContext, wake: Wake, feed: Feed
) -> dg.SensorResult | dg.SkipReason:
    """Say why a tick did not look, and when one looks again."""
    reason = dg.SkipReason(f"feed {feed.name}: {error}; the next tick tries again{wake.addition}")
    if not wake.is_on:
        return reason
    cursor = LandingCursor.parse(context.cursor)
    cursor.rest = wake.rest_after_error(is_listing=isinstance(error, StillScanningError))
    return dg.SensorResult(skip_reason=reason, cursor=str(cursor))


def _request_runs(assets: FeedAssets, agenda: Agenda, cursor: LandingCursor) -> list[dg.RunRequest]:
    """Create one run request per range of wanted files, and record the requests in the cursor."""
    requests = []
    by_key = group_by_key(agenda.choice.wanted)
    # A cursor that was reset must not repeat run keys: Dagster never runs the same key twice.
    cursor.requests = cursor.requests or int(time.time())
    for keys in agenda.ranges:
        for key in keys:
            cursor.attempts.note(key, mark_of(by_key[key]) if key in by_key else MARK)
        cursor.requests += 1
        requests.append(
            request_run(
                keys,
                tags={FEED_TAG: assets.feed.name, **tags_of_request(assets.feed)},
                run_key=f"{cursor.requests}-{digest(cursor.attempts.of_key[key] for key in keys)}",
            )
        )
    return requests


def _list_feeds(context: dg.SensorEvaluationContext) -> Iterator[Feed]:
    """Yield all feeds of the code location that a sensor is in."""
    definitions = context.repository_def and context.repository_def.assets_defs_by_key
    for assets in map(FeedAssets.find, (definitions or {}).values()):
        if assets:
            yield assets.feed


def _log_what_is_passed_over(
    context: dg.SensorEvaluationContext,
    assets: FeedAssets,
    plan: Plan,
    unmatched: Sequence[PassedOver],
    cursor: LandingCursor,
) -> None:
    stale = [PassedOver(row.source_file, _WHY_STALE) for row in plan.stale]
    said = digest([plan.ignored, plan.refused, stale])
    if said == cursor.said:
        return
    cursor.said = said
    name = assets.feed.name
    known = set(unmatched)
    others = [entry for entry in plan.ignored if entry not in known]
    for what, entries, log in (
        ("ignored", others, context.log.info),
        ("unmatched", unmatched, context.log.warning),
        ("stale", stale, context.log.warning),
        ("refused", plan.refused, context.log.error),
    ):
        for entry in entries[:_MAX_NAMES_LOGGED]:
            log(f"feed {name}: {what} {entry.name!a}: {entry.reason}")
        if len(entries) > _MAX_NAMES_LOGGED:
            log(f"feed {name}: {what} {len(entries) - _MAX_NAMES_LOGGED} more")


def _describe(
    assets: FeedAssets,
    agenda: Agenda,
    requests: Sequence[dg.RunRequest],
    unmatched: Sequence[PassedOver],
) -> str:
    of_action = agenda.plan.count_actions()
    counts = {str(action): of_action[action] for action in Action}
    counts |= {
        "being loaded": len(agenda.in_flight),
        "waiting because their run could not start": len(agenda.pausing),
        "to compute": len(agenda.to_compute.pending),
        "not loadable": len(agenda.plan.refused),
        "of no feed": len(unmatched),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    asked = f"requested {len(requests)} run(s)" if requests else "nothing to request"
    remarks = [agenda.removal.brake] if agenda.removal.brake else []
    if agenda.unregistered:
        remarks.append(describe_unregistered(assets.feed, agenda.unregistered))
    first_name = agenda.plan.first_name
    where = f" from {first_name} on" if first_name else ""
    return (
        f"feed {assets.feed.name}: {asked}; files{where}: {'; '.join([told or 'none', *remarks])}"
    )
