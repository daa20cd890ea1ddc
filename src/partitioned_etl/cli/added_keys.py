"""Added keys: ad-hoc keys of a feed that a person adds, as in the web UI, and which must be sound.

Takes keys as they were typed; registers them in Dagster, all or none. Next: `sync.py` has their
rows computed, or the feed's sensor does.
"""

from collections.abc import Sequence

import click
import dagster as dg

from partitioned_etl.cli.location import choose_feeds, open_instance
from partitioned_etl.cli.output import print_json, show
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.sources.computed_rows import check_key, list_spellings


def add_keys(instance: dg.DagsterInstance, assets: FeedAssets, keys: Sequence[str]) -> list[str]:
    """Register keys of a feed, unless one of them cannot be one.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        keys: The keys.

    Returns:
        Those that were not registered before.

    Raises:
        FeedDefinitionError: The feed has no ad-hoc keys.
        PartitionKeyError: One of them can be no key of the feed.
    """
    feed = assets.feed
    if not feed.is_computed:
        reason = f"feed {feed.name} has no ad-hoc keys: it is not declared with source parameters"
        raise FeedDefinitionError(reason, attribute="source")
    known = assets.partitions.list_keys(instance)
    spellings = list_spellings(known)
    for key in keys:
        check_key(feed, key, spellings)
        spellings |= list_spellings([key])
    new = [key for key in dict.fromkeys(keys) if key not in known]
    if new:
        assets.partitions.register(instance, new)
    return new


def add_keys_only(name: str, keys: Sequence[str], *, as_json: bool) -> int:
    """Register keys of a feed, and leave the rest to its sensor.

    Args:
        name: The feed.
        keys: The keys.
        as_json: Whether to print JSON instead of a sentence.

    Returns:
        0, or 1 if the feed cannot be loaded.

    Raises:
        FeedDefinitionError: There is no such feed, or it has no ad-hoc keys.
        PartitionKeyError: One of them can be no key of the feed.
    """
    chosen = choose_feeds([name])
    if chosen.mistakes:
        chosen.report_mistakes()
        return 1
    [assets] = chosen.feeds
    with open_instance() as instance:
        new = add_keys(instance, assets, keys)
    if as_json:
        print_json({"feed": name, "added": new})
    else:
        known = len({*keys}) - len(new)
        said = f"Added {len(new)} key(s) to {name}" + (f"; {known} were there" if known else "")
        click.echo(show(f"{said}. Its sensor has their rows computed, or `sync`."))
    return 0
