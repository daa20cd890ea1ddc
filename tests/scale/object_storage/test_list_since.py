"""`list_since_days` in a bucket: a look asks for the pages of its window alone."""

from urllib.parse import parse_qs, urlsplit

import obstore

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.list_since import find_name_before
from support.bucket_bench import BucketBench
from support.faulty_proxy import FaultyProxy

DAYS = Feed(
    name="days",
    pattern="{date:%Y}/{date:%m}/{date:%d}/{part}.csv",
    columns={"id": "BIGINT"},
    list_since_days=7,
)
FIRST_NAME = "2026/05/10"
PER_PAGE = 1_000


def list_requests(proxy: FaultyProxy) -> list[dict[str, list[str]]]:
    """Give what each request for a page of a listing asked for, and forget them."""
    asked = [parse_qs(urlsplit(path).query) for method, path in proxy.requests if method == "GET"]
    proxy.requests.clear()
    return [one for one in asked if "list-type" in one]


def test_only_the_pages_of_the_window_are_asked_for(
    bucket: BucketBench, proxy: FaultyProxy
) -> None:
    old = {f"2019/{1 + n // 100:02}/01/{n}.csv": "id\n1\n" for n in range(1_200)}
    days = [f"2026/05/{day:02}" for day in range(8, 14)]
    new = {f"{day}/{n}.csv": "id\n1\n" for day in days for n in range(20)}
    bucket.put_all(DAYS, old | new | {"2027/01/01/1.csv": "id\n1\n"})
    list_requests(proxy)
    in_all = bucket.landing.list_files(DAYS)
    assert len(in_all.files) == len(old) + len(new) + 1
    asked_for_all = list_requests(proxy)
    assert len(asked_for_all) == 1 + len(in_all.files) // PER_PAGE
    listing = bucket.landing.scan(DAYS, None, FIRST_NAME).list_files()
    assert [*listing.files] == [name for name in in_all.files if name >= FIRST_NAME]
    assert len(listing.files) == 4 * 20 + 1
    [asked] = list_requests(proxy)
    [after] = asked["start-after"]
    assert after.endswith("/days/2026/05/1/~")


def test_every_day_of_a_month_may_be_the_first_and_nothing_before_it_is_listed(
    bucket: BucketBench,
) -> None:
    names = [f"2026/05/{day:02}/1.csv" for day in range(1, 32)]
    bucket.put_all(DAYS, dict.fromkeys(names, "id\n1\n"))
    for number, name in enumerate(names):
        first_name = name.removesuffix("/1.csv")
        listing = bucket.landing.scan(DAYS, None, first_name).list_files()
        assert [*listing.files] == names[number:]
        after = bucket.key(DAYS, find_name_before(first_name))
        pages = obstore.list(bucket.store, prefix=bucket.key(DAYS, "")[:-1], offset=after)
        assert sum(map(len, pages)) == len(names) - number
