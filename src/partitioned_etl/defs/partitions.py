"""Partition definitions: the daily and the monthly window, and the customers.

They belong here and not in a feed's module, because several assets, and other projects, share them.
All are in UTC. A day or month gets its partition when it begins, because its file may land before
it ends.
"""

import dagster as dg

from partitioned_etl.engine.settings import Settings

_settings = Settings()

daily_partitions = dg.DailyPartitionsDefinition(
    start_date=_settings.daily_start_date.isoformat(),
    end_date=_settings.daily_end_date.isoformat() if _settings.daily_end_date else None,
    end_offset=0 if _settings.daily_end_date else 1,
)
monthly_partitions = dg.MonthlyPartitionsDefinition(
    start_date=_settings.monthly_start_date.isoformat(), end_offset=1
)
customer_partitions = dg.DynamicPartitionsDefinition(name="customers")
