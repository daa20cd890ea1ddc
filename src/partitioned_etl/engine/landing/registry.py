"""Registry: which landing an address stands for. A new kind is a module and a line here."""

from pathlib import Path

from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.landing.object_store import connect_object_landing
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.settings import Settings


def connect_landing(address: Path | str, settle_seconds: float) -> Landing:
    """Return the landing of an address.

    Args:
        address: A folder with one folder per feed, or a URL of object storage.
        settle_seconds: How long a file must be unchanged before it is loaded, where writing one
            takes time.

    Raises:
        SettingError: The address makes no sense.
        LandedFileError: What it needs is not installed, or not set.
    """
    try:
        parsed = parse_address(address) if isinstance(address, str) else address
    except ValueError as error:
        raise SettingError(f"landing {str(address).partition('://')[0]}://…: {error}") from None
    if isinstance(parsed, str):
        return connect_object_landing(parsed, Settings().staging_dir)
    return LocalLanding(parsed, settle_seconds)
