"""Step 5, sensors: what starts a run when files land or change.

Takes a feed; returns its directory-polling sensor. It is level-triggered: each tick compares the
folder with the ledger and requests what is missing. The cursor only remembers what was requested
and is not yet in the ledger, so a lost cursor or a lost run costs time but no file.
"""

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

import dagster as dg

from partitioned_etl.builders.attempts import count_attempts, note_attempt, parse_attempts
from partitioned_etl.builders.jobs import FEED_TAG, AssetJob
from partitioned_etl.builders.partitions import (
    add_names,
    find_dynamic,
    list_files_in_window,
    list_names,
    list_partition_keys,
)
from partitioned_etl.builders.ranges import group_into_ranges, range_tags
from partitioned_etl.builders.reconciliation import REPAIR_TAG, Reconciliation
from partitioned_etl.builders.resources import LandingDirectory, Warehouse
from partitioned_etl.builders.runs import (
    UNFINISHED,
    fail_runs_without_worker,
    list_keys_in_flight,
    list_unreported_keys,
)
from partitioned_etl.ingest.errors import LandedFileError, WarehouseLockedError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile, PassedOver
from partitioned_etl.ingest.reconcile import (
    MAX_ATTEMPTS,
    Action,
    Plan,
    Removal,
    choose_files,
    find_removable,
)
from partitioned_etl.ingest.settings import read_settings
from partitioned_etl.ingest.sync import plan_feed

MAX_RUNS_PER_TICK = 25
"""Most runs that one tick requests; changed keys that are not adjacent need one each."""
TICK_LOCK_WAIT_SECONDS = 3.0
TICK_SETTLE_SECONDS = 3.0
"""The longest settle time that a tick waits out, once; a longer one is left to later ticks."""
TICK_TOUCHED_BYTES = 1 << 30
"""The most bytes that a tick reads to detect files that were only touched: about a second."""
_MAX_NAMES_LOGGED = 50


@dataclass
class Cursor:
    """What a sensor remembers between ticks.

    Attributes:
        asked: Per key that was requested and is not in the ledger: signature digest, how often, and
            when last, in seconds since 1970.
        basis: Digest of other causes of failed loads: the contract, and whether the ledger has
            rows.
        said: Digest of the entries last reported as ignored or refused.
        removal: Digest of the partitions whose removal was requested, and the number of attempts.
        reported_until: Time up to which loads are known to be reported, in seconds since 1970.
        requests: A number that increases with every requested run; it makes run keys unique.
    """

    asked: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    basis: str = ""
    said: str = ""
    removal: tuple[str, int] = ("", 0)
    reported_until: float = 0.0
    requests: int = 0

    def attempts(self, file: LandedFile) -> int:
        """Return how often a file was requested since it last changed."""
        return count_attempts(self.asked, file.partition_key, digest([file.signature]))

    def note(self, file: LandedFile) -> None:
        """Record that a file is requested now."""
        note_attempt(self.asked, file.partition_key, digest([file.signature]))

    def hold_against(self, feed: Feed, plan: Plan) -> None:
        """Forget requests made under another contract, or before the table was dropped."""
        has_rows = any(step.ledger_row for step in plan.steps.values())
        basis = digest([feed.contract_fingerprint, has_rows])
        if self.basis and basis != self.basis:
            self.asked = {}
        self.basis = basis

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a cursor; return an empty one if it cannot be read."""
        try:
            values = json.loads(text or "{}")
            mark, count = values["removal"]
            return cls(
                parse_attempts(values["asked"], str),
                str(values["basis"]),
                str(values["said"]),
                (str(mark), int(count)),
                float(values["reported_until"]),
                int(values["requests"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def __str__(self) -> str:
        """Return the cursor as compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


def digest(parts: Iterable[object]) -> str:
    """Return a short digest of values."""
    return blake2b(repr(list(parts)).encode(), digest_size=6).hexdigest()


def read_tick_interval() -> int:
    """Return the minimum number of seconds between two ticks, as declared to Dagster.

    Dagster's daemon checks every five seconds whether a tick is due. Given the exact setting, it
    would defer a tick to its next check because the previous tick began a moment after its own.
    """
    return max(1, read_settings().sensor_interval_seconds - 1)


def build_landing_sensor(
    feed: Feed,
    job: AssetJob,
    partitions_def: dg.PartitionsDefinition,
    reconciliation: Reconciliation,
    *,
    name: str,
) -> dg.SensorDefinition:
    """Build the sensor that keeps a feed's table up to date with its folder.

    Args:
        feed: The feed.
        job: The feed's job.
        partitions_def: The feed's partitions.
        reconciliation: The feed's reconciliation, whose job removes partitions.
        name: The sensor's name.
    """
    settings = read_settings()
    dynamic = find_dynamic(partitions_def)

    @dg.sensor(
        name=name,
        jobs=[job, reconciliation.job],
        minimum_interval_seconds=read_tick_interval(),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Compares folder `{feed.folder}/` with the ledger, registers new partition keys and "
            "requests one run for all files that are new or changed."
        ),
    )
    def landing_sensor(
        context: dg.SensorEvaluationContext, landing: LandingDirectory, warehouse: Warehouse
    ) -> dg.SensorResult | dg.SkipReason:
        cursor = Cursor.parse(context.cursor)
        fail_runs_without_worker(
            context.instance, feed=feed, location_name=_location_name(context), log=context.log
        )

        def look() -> tuple[list[str], set[str], Plan]:
            # Dagster is queried first: the plan then includes what a run has loaded meanwhile. The
            # plan also reuses the memory that the query for the keys needed.
            known = list_partition_keys(partitions_def, context.instance)
            in_flight = list_keys_in_flight(context.instance, feed, reconciliation.load_key, known)
            plan = plan_feed(
                feed,
                list_files_in_window(feed, landing.directory, partitions_def),
                landing.directory,
                warehouse.path,
                settle_seconds=landing.settle_time,
                lock_wait_seconds=TICK_LOCK_WAIT_SECONDS,
                memory_limit=warehouse.most_memory,
                touched_max_bytes=TICK_TOUCHED_BYTES,
            )
            return known, in_flight, plan

        try:
            known, in_flight, plan = look()
            if plan.is_settling and landing.settle_time <= TICK_SETTLE_SECONDS:
                # What has just landed settles before the next tick. Two plans of a large folder
                # would take too much memory.
                del known, plan
                time.sleep(landing.settle_time)
                known, in_flight, plan = look()
        except (WarehouseLockedError, LandedFileError) as error:
            return dg.SkipReason(f"feed {feed.name}: {error}; the next tick tries again")
        _say_what_is_passed_over(context, feed, plan, cursor)
        unreported, cursor.reported_until = list_unreported_keys(
            context.instance, reconciliation.load_key, plan.ledger_rows, cursor.reported_until
        )
        cursor.hold_against(feed, plan)
        candidates = plan.candidates(unreported)
        pending = {*plan.keys(Action.UNSETTLED), *(file.partition_key for file in candidates)}
        cursor.asked = {key: asked for key, asked in cursor.asked.items() if key in pending}
        most = settings.max_files_per_run
        choice = choose_files(candidates, cursor.attempts, in_flight=in_flight, most=most)
        for file in choice.given_up:
            context.log.error(f"feed {feed.name}: {describe_given_up(file)}")
        unknown, ranges = list_ranges_of_tick(
            partitions_def, plan.landed, known, choice.wanted, most
        )
        requests = _request_runs(feed, job, choice.wanted, ranges, cursor)
        removal = find_removable(feed, plan)
        requests += _request_removal(context, feed, reconciliation.job, removal, cursor)
        message = _describe(feed, plan, in_flight, requests, removal.brake)
        if requests:
            context.log.info(message)
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[dynamic.build_add_request(unknown)]
            if dynamic and unknown
            else [],
            cursor=str(cursor),
            skip_reason=None if requests else dg.SkipReason(message),
        )

    return landing_sensor


def describe_given_up(file: LandedFile) -> str:
    """Return a message that a file has reached `MAX_ATTEMPTS`."""
    return (
        f"{file.name} was requested {MAX_ATTEMPTS} times and neither loaded nor refused; it is "
        "requested once an hour, and when it changes. See the failed runs for the reason."
    )


def list_ranges_of_tick(
    partitions_def: dg.PartitionsDefinition,
    landed: Iterable[str],
    known: Sequence[str],
    wanted: Iterable[LandedFile],
    most: int,
) -> tuple[list[str], list[list[str]]]:
    """Return what one tick registers and requests.

    Args:
        partitions_def: The feed's partitions.
        landed: All partition keys that have a file.
        known: All keys that Dagster knows, in the order used by ranges.
        wanted: The files to load.
        most: Most keys in one range.

    Returns:
        The names to register: those that are wanted, then others that have landed. And the keys of
        each run to request; the next tick requests what exceeds the limits of this one.
    """
    keys = [file.partition_key for file in wanted]
    unknown: list[str] = []
    if find_dynamic(partitions_def):
        registered = set(list_names(partitions_def, known))
        needed = sorted(set(list_names(partitions_def, keys)) - registered)
        registered.update(needed)
        names = list_names(partitions_def, landed)
        others = sorted(name for name in names if name not in registered)
        unknown = needed + others[: max(0, most - len(needed))]
    ordered = add_names(partitions_def, known, unknown)
    return unknown, group_into_ranges(keys, ordered, most)[:MAX_RUNS_PER_TICK]


def _request_runs(
    feed: Feed,
    job: AssetJob,
    wanted: Sequence[LandedFile],
    ranges: Sequence[Sequence[str]],
    cursor: Cursor,
) -> list[dg.RunRequest]:
    """Create one run request per range of wanted files, and record the requests in the cursor."""
    requests = []
    by_key = {file.partition_key: file for file in wanted}
    # A cursor that was reset must not repeat run keys: Dagster never runs the same key twice.
    cursor.requests = cursor.requests or int(time.time())
    for keys in ranges:
        for key in keys:
            cursor.note(by_key[key])
        cursor.requests += 1
        requests.append(
            dg.RunRequest(
                run_key=f"{cursor.requests}-{digest(cursor.asked[key] for key in keys)}",
                job_name=job.name,
                partition_key=str(keys[0]) if len(keys) == 1 else None,
                tags={FEED_TAG: feed.name, **range_tags(keys)},
            )
        )
    return requests


def _request_removal(
    context: dg.SensorEvaluationContext,
    feed: Feed,
    job: dg.JobDefinition,
    removal: Removal,
    cursor: Cursor,
) -> list[dg.RunRequest]:
    """Request a run of the reconcile job if partitions are to be removed and none is in progress.

    A run that was ended after removing them but before reporting it to Dagster is requested again.
    """
    runs = dg.RunsFilter(tags={REPAIR_TAG: feed.name})
    under_way = dg.RunsFilter(tags={REPAIR_TAG: feed.name}, statuses=UNFINISHED)
    mark, attempts = cursor.removal
    if not removal.keys:
        latest = context.instance.get_runs(runs, limit=1) if mark else []
        if removal.brake or not latest or latest[0].is_success:
            cursor.removal = ("", 0)
            return []
    elif mark != digest(removal.keys):
        mark, attempts = digest(removal.keys), 0
    if attempts >= MAX_ATTEMPTS or context.instance.get_runs_count(under_way):
        return []
    cursor.removal = (mark, attempts + 1)
    cursor.requests += 1
    return [
        dg.RunRequest(
            run_key=f"{cursor.requests}-reconcile-{mark}",
            job_name=job.name,
            tags={REPAIR_TAG: feed.name},
        )
    ]


def _say_what_is_passed_over(
    context: dg.SensorEvaluationContext, feed: Feed, plan: Plan, cursor: Cursor
) -> None:
    said = digest([plan.ignored, plan.refused])
    if said == cursor.said:
        return
    cursor.said = said
    for what, entries in (("ignored", plan.ignored), ("refused", plan.refused)):
        log = context.log.info if what == "ignored" else context.log.error
        for entry in entries[:_MAX_NAMES_LOGGED]:
            log(f"feed {feed.name}: {what} {_name_of(entry)}: {entry.reason}")
        if len(entries) > _MAX_NAMES_LOGGED:
            log(f"feed {feed.name}: {what} {len(entries) - _MAX_NAMES_LOGGED} more")


def _name_of(entry: PassedOver) -> str:
    return ascii(entry.name)


def _describe(
    feed: Feed,
    plan: Plan,
    in_flight: Collection[str],
    requests: Sequence[dg.RunRequest],
    brake: str,
) -> str:
    of_action = Counter(step.action for step in plan.steps.values())
    counts = {str(action): of_action[action] for action in Action}
    counts |= {"being loaded": len(in_flight), "not loadable": len(plan.refused)}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    asked = f"requested {len(requests)} run(s)" if requests else "nothing to request"
    return f"feed {feed.name}: {asked}; files: {told or 'none'}{f'; {brake}' if brake else ''}"


def _location_name(context: dg.SensorEvaluationContext) -> str | None:
    origin = context.code_location_origin
    return origin.location_name if origin else None
