"""Partition definitions: the daily and the monthly window, and the customers.

They belong here and not in a feed's module, because several assets, and other projects, share them.
All are in UTC. A window without an end extends to today; a day or month then gets its partition
when it begins, because its file may land before it ends.
"""

from datetime import date
from typing import Annotated

import dagster as dg
from pydantic import BeforeValidator, Field

from partitioned_etl import Settings

Day = Annotated[date, BeforeValidator(lambda value: date.fromisoformat(str(value)))]
LastDay = Annotated[
    date | None,
    BeforeValidator(lambda value: value and date.fromisoformat(str(value))),
]


class Windows(Settings):
    """Settings of this project only: the windows, which by default are those of the samples."""

    daily_start_date: Annotated[Day, Field(description="First day of the daily window.")] = date(
        2018, 1, 21
    )
    daily_end_date: Annotated[
        LastDay,
        Field(description="First day after the daily window; empty: the window extends to today."),
    ] = date(2018, 1, 24)
    monthly_start_date: Annotated[Day, Field(description="First month of the monthly window.")] = (
        date(2018, 1, 1)
    )
    monthly_end_date: Annotated[
        LastDay,
        Field(description="First month after the monthly window; empty: it extends to today."),
    ] = date(2018, 4, 1)


_windows = Windows()

daily_partitions = dg.DailyPartitionsDefinition(
    start_date=_windows.daily_start_date.isoformat(),
    end_date=_windows.daily_end_date and _windows.daily_end_date.isoformat(),
    end_offset=0 if _windows.daily_end_date else 1,
)
monthly_partitions = dg.MonthlyPartitionsDefinition(
    start_date=_windows.monthly_start_date.isoformat(),
    end_date=_windows.monthly_end_date and _windows.monthly_end_date.isoformat(),
    end_offset=0 if _windows.monthly_end_date else 1,
)
customer_partitions = dg.DynamicPartitionsDefinition(name="customers")
