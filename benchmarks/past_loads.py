"""Past loads: the ledger rows that loads would have left, for benchmarks with much that is loaded.

Takes landed files; gives ledger rows of one row each. The rows of the table are the caller's.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256

from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.warehouse.ledger import ledger_row
from partitioned_etl.engine.warehouse.warehouse import FeedTable


def record_past_load(table: FeedTable, files: Sequence[LandedFile], run_id: str = "") -> None:
    """Write the ledger rows of files as one load would have left them.

    Args:
        table: The feed's table, outside a transaction; it is prepared.
        files: Landed files, no two with the same name, which stands in for their content.
        run_id: The Dagster run that would have loaded them.
    """
    loaded_at = datetime.now(UTC)
    with table.transaction():
        table.record_loads(
            [
                ledger_row(
                    table.feed,
                    file,
                    run_id=run_id,
                    content_hash=sha256(file.name.encode()).hexdigest(),
                    row_count=1,
                    file_row_count=1,
                    loaded_at=loaded_at,
                )
                for file in files
            ]
        )
