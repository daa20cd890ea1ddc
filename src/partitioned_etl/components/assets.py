"""Assets of a feed: its import asset, its load asset and its checks, in one step.

`feed_assets` turns a feed and a body into one subsettable multi-asset. It is one step, not one per
asset, so that a partition without a file, or with a bad one, fails alone while all others in the
run are loaded and shown green. What the body calls is in `resources.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from partitioned_etl.components.checks import CHECK_NAMES, list_check_specs
from partitioned_etl.components.events import (
    FEED_TAG,
    FeedEvents,
    GetMetadata,
    import_asset_metadata,
    load_asset_metadata,
    no_metadata,
)
from partitioned_etl.components.partitions import FeedPartitions, build_partitions_def
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Landing, Listing
from partitioned_etl.engine.landing.names import Bounds, Scan
from partitioned_etl.engine.overlap import folder_of, key_of_path, may_share_files
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.warehouse.registry import has_one_writer, name_kind

WAREHOUSE_POOL = "duckdb"
"""Dagster pool of every step that opens a DuckDB file; `dagster.yaml` limits it to one."""
AssetJob: TypeAlias = Any
"""What `dg.define_asset_job` returns; Dagster has no public name for it."""


def find_warehouse_pool() -> str | None:
    """Return the pool of the steps that open the warehouse.

    None if they need not take turns, because many processes can write to the warehouse at once.
    """
    return WAREHOUSE_POOL if has_one_writer(Settings().database) else None


_DECLARATION = "partitioned_etl/feed"
_NAME = re.compile(r"[A-Za-z0-9_]+")
"""What Dagster takes for the name of a job, a check, a sensor or a table's asset."""


class _Declaration(dict[str, Any]):
    """A feed's declaration, as an asset's metadata shows it, with the assets that it makes."""

    def __init__(self, assets: "FeedAssets") -> None:
        super().__init__(assets.feed.model_dump(mode="json", exclude_unset=True))
        self.assets = assets


@dataclass(frozen=True)
class FeedAssets:
    """A feed's assets: their keys, partitions and events.

    Attributes:
        feed: The feed.
        import_key: Its import asset.
        load_key: Its load asset.
        partitions: Its partitions.
        events: What it tells Dagster.
        fingerprint: A short digest of its definition: the declaration, and the file of its body.
        others: All other feeds of the code location, once `introduce_feeds` has told of them.
    """

    feed: Feed
    import_key: dg.AssetKey
    load_key: dg.AssetKey
    partitions: FeedPartitions
    events: FeedEvents
    fingerprint: str
    others: list["FeedAssets"] = field(default_factory=list, compare=False, repr=False)

    @staticmethod
    def of(definition: dg.AssetsDefinition) -> "FeedAssets":
        """Return the feed's assets that a definition stands for.

        Raises:
            FeedDefinitionError: It was not made by `feed_assets`.
        """
        found = FeedAssets.find(definition)
        if found is None:
            reason = f"{definition.node_def.name} was not made by feed_assets"
            raise FeedDefinitionError(reason)
        return found

    @staticmethod
    def find(definition: object) -> "FeedAssets | None":
        """Return the feed's assets that a definition stands for; None if it is of no feed."""
        if isinstance(definition, dg.AssetsDefinition):
            for metadata in definition.metadata_by_key.values():
                declaration = metadata.get(_DECLARATION)
                if isinstance(declaration, _Declaration):
                    return declaration.assets
        return None

    @property
    def other_feeds(self) -> list[Feed]:
        """All other feeds of the code location."""
        return [one.feed for one in self.others]

    def list_files(self, landing: Landing, first_name: str = "") -> Listing:
        """List the feed's landing; see `scan`.

        Raises:
            LandedFileError: The landing cannot be listed.
        """
        return self.scan(landing, first_name).list_files()

    def scan(self, landing: Landing, first_name: str = "") -> Scan:
        """Look at the feed's landing; what fits no partition, or is of two feeds, is refused.

        Args:
            landing: The landing.
            first_name: Names that sort before it are not looked at; empty to look at all.

        Raises:
            LandedFileError: The landing cannot be listed.
        """
        windows, folder = self.partitions.list_windows(), folder_of(self.feed)
        near = [one for one in self.others if may_share_files(self.feed, one.feed)]
        of_near = [(one.feed, one.partitions.list_windows()) for one in near]

        def why_shared(name: str) -> str:
            for other, of_other in of_near:
                if (other_key := key_of_path(other, folder + name)) and other_key in of_other:
                    return f"feed {other.name} takes this file, too: neither loads it"
            return ""

        bounds = Bounds(windows.why_outside, why_shared if near else None)
        is_bounded = near or any(windows.of_parts)
        return landing.scan(self.feed, bounds if is_bounded else None, first_name)

    @property
    def job_name(self) -> str:
        """The name of the job that loads the feed's partitions."""
        return f"{self.feed.name}_job"

    @property
    def fetch_job_name(self) -> str:
        """The name of the job that fetches what the feed's source offers, if it has one."""
        return f"{self.feed.name}_fetch_job"


def find_feeds(definitions: dg.Definitions) -> list[FeedAssets]:
    """Return the assets of all feeds in definitions, in the order of the feeds' names."""
    found = map(FeedAssets.find, definitions.assets or ())
    return sorted((assets for assets in found if assets), key=lambda assets: assets.feed.name)


def introduce_feeds(feeds: Sequence[FeedAssets]) -> None:
    """Tell each feed of all others, so that its step knows whose a file in its folder is.

    A step does not know them by itself: in a run within a process, such as one of the command line,
    its context has no repository.
    """
    for assets in feeds:
        assets.others[:] = [one for one in feeds if one is not assets]


def feed_assets(
    feed: Feed,
    *,
    partitions_def: dg.PartitionsDefinition | None = None,
    import_asset: str = "",
    load_asset: str = "",
    owners: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    get_metadata: GetMetadata = no_metadata,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Make a function the step that loads a feed: its import asset, load asset and checks.

    Args:
        feed: The feed.
        partitions_def: Partitions of both assets; by default what the feed declares. Their keys are
            the feed's partition keys.
        import_asset: Key of the import asset; `import_` and the feed's name if empty.
        load_asset: Key of the load asset; the table's name if empty.
        owners: Owners of the assets: e-mail addresses or `team:` names.
        tags: Tags of the assets.
        get_metadata: Returns metadata to add to every materialization, by partition key and file
            name.

    Returns:
        A decorator. The function takes the context and the resources `landing` and `warehouse`, and
        yields what `warehouse.load` does. The result accepts one partition key or a range.

    Raises:
        FeedDefinitionError: The partitions do not have the kind of keys that the feed's file names
            stand for, Dagster does not accept a name, an owner or a tag, or two names are the same.
    """
    names = _name_assets(feed, import_asset, load_asset)
    _check_owners_and_tags(feed, owners, tags)
    partitions = FeedPartitions(feed, partitions_def or build_partitions_def(feed))
    events = FeedEvents(feed, *names, get_metadata)

    def decorate(body: Callable[..., Any]) -> dg.AssetsDefinition:
        assets = FeedAssets(feed, *names, partitions, events, _fingerprint(feed, body))
        return dg.multi_asset(
            name=f"load_{feed.name}",
            specs=[
                spec.merge_attributes(owners=list(owners), tags=dict(tags or {}))
                for spec in _list_specs(assets)
            ],
            check_specs=list_check_specs(feed, assets.load_key),
            partitions_def=partitions.definition,
            backfill_policy=dg.BackfillPolicy.single_run(),
            can_subset=True,
            # A function may take hours: its step waits for the warehouse when it has rows for it.
            pool=None if feed.is_computed else find_warehouse_pool(),
        )(body)

    return decorate


def _list_specs(assets: FeedAssets) -> list[dg.AssetSpec]:
    """Declare the import asset and the load asset."""
    feed = assets.feed
    common = {
        "group_name": feed.name,
        "tags": {"feed": feed.name, "partitioning": str(feed.partitioning)},
        "partitions_def": assets.partitions.definition,
    }
    imported = dg.AssetSpec(
        assets.import_key,
        description=(
            f"{feed.description} The landed file of each partition, in folder `{feed.folder}/`, "
            f"named like `{feed.pattern}`: where it is, its size and its content hash. No row is "
            "read into a table yet."
        ),
        kinds={feed.format.kind},
        metadata=import_asset_metadata(feed),
        **common,
    )
    loaded = dg.AssetSpec(
        assets.load_key,
        deps=[assets.import_key],
        description=(
            f"{feed.description} Table `{feed.table}`: for each partition exactly the rows of its "
            "landed file, replaced as a whole in one transaction, with `partition_key` and "
            "`source_file`. A file that breaks its contract is refused and changes no row."
        ),
        kinds={name_kind(Settings().database), "table"},
        metadata={
            **load_asset_metadata(feed, assets.import_key),
            _DECLARATION: _Declaration(assets),
        },
        **common,
    )
    return [imported, loaded]


def feed_job(definition: dg.AssetsDefinition) -> AssetJob:
    """Build the job that imports, checks and loads partitions of a feed, in one step.

    It selects only the load asset, whose step also imports: for each selected asset Dagster writes
    an event per partition before a run begins, which takes longer than loading a small file. It
    leaves out the check that counts the whole table: a load's cost depends only on what it loads.

    Args:
        definition: The feed's assets.
    """
    assets = FeedAssets.of(definition)
    checks = [key for key in definition.check_keys if key.name != CHECK_NAMES.table_equals_landing]
    return dg.define_asset_job(
        assets.job_name,
        selection=dg.AssetSelection.assets(assets.load_key).without_checks()
        | dg.AssetSelection.checks(*checks),
        description=f"Import, check and load partitions of {assets.feed.name}: one key or a range.",
        tags={FEED_TAG: assets.feed.name},
    )


def check_name(feed: Feed, attribute: str, name: str) -> None:
    """Make sure that Dagster accepts a name that a feed gives, if it gives one.

    Raises:
        FeedDefinitionError: It does not.
    """
    if name and not _NAME.fullmatch(name):
        reason = f"{attribute}: {name!r} is not made of letters, digits and _ alone"
        raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute=attribute)


def _name_assets(feed: Feed, import_asset: str, load_asset: str) -> tuple[dg.AssetKey, dg.AssetKey]:
    """Return the keys of import asset and load asset, if Dagster accepts all names of the feed."""
    names = {"name": feed.name, "table": "" if load_asset else feed.table, "load_asset": load_asset}
    rules = [("row_rules", rule.name) for rule in feed.row_rules]
    for attribute, name in [*names.items(), *rules]:
        check_name(feed, attribute, name)
    for _, rule in rules:
        if rule in CHECK_NAMES:
            reason = f"feed {feed.name}: row_rules: {rule} is a check that a feed has anyway"
            raise FeedDefinitionError(reason, attribute="row_rules")
    import_key = dg.AssetKey(import_asset or f"import_{feed.name}")
    load_key = dg.AssetKey(load_asset or feed.table)
    if import_key == load_key:
        reason = f"import_asset and load_asset are both {load_key.to_user_string()}"
        raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute="import_asset")
    return import_key, load_key


def _fingerprint(feed: Feed, body: Callable[..., Any]) -> str:
    """Return a short digest of a feed's declaration, and of the files of its body and function."""
    bodies = [body, getattr(type(feed), "compute", body)]
    sources = [Path(name) for name in dict.fromkeys(one.__code__.co_filename for one in bodies)]
    code = b"".join(source.read_bytes() for source in sources if source.is_file())
    return blake2b(feed.model_dump_json().encode() + code, digest_size=8).hexdigest()


def _check_owners_and_tags(
    feed: Feed, owners: Sequence[str], tags: Mapping[str, str] | None
) -> None:
    for attribute, value in {"owners": owners, "tags": tags}.items():
        try:
            dg.AssetSpec(feed.name, **{attribute: value})
        except dg.DagsterError as error:
            reason = f"feed {feed.name}: {attribute}: {error}"
            raise FeedDefinitionError(reason, attribute=attribute) from None
