"""Where a file lies that a person named: in a landing, by a path, a name or a URL, or elsewhere."""

from pathlib import Path

import pytest

from partitioned_etl.cli.places import find_elsewhere, find_path_in

BUCKET = "s3://bucket/in"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("s3://bucket/in/customers/acme.csv", "customers/acme.csv"),
        ("customers/acme.csv", "customers/acme.csv"),
        ("s3://bucket/inbox/acme.csv", None),
        ("s3://other/in/acme.csv", None),
    ],
)
def test_an_object_is_named_by_its_url_or_from_the_prefix_on(text: str, path: str | None) -> None:
    assert find_path_in(BUCKET, text) == path


def test_a_path_is_as_the_shell_means_it_and_then_from_the_landing_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("landing/customers", "customers"):
        path = tmp_path / folder / "acme.csv"
        path.parent.mkdir(parents=True)
        path.touch()
    landing = tmp_path / "landing"
    assert find_path_in(landing, "landing/customers/acme.csv") == "customers/acme.csv"
    assert find_path_in(landing, "customers/other.csv") == "customers/other.csv"
    assert find_path_in(landing, "customers/acme.csv") is None
    assert find_path_in(landing, f"{BUCKET}/customers/acme.csv") is None
    assert find_elsewhere([landing], "customers/acme.csv") == tmp_path / "customers/acme.csv"
    assert find_elsewhere([landing], "landing/customers/acme.csv") is None
    assert find_elsewhere([landing, BUCKET], f"{BUCKET}/acme.csv") is None


def test_the_name_of_a_link_is_its_own(tmp_path: Path) -> None:
    target = tmp_path / "acme.csv"
    target.touch()
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "link.csv").symlink_to(target)
    (tmp_path / "way").symlink_to(landing)
    assert find_path_in(landing, str(tmp_path / "way" / "link.csv")) == "link.csv"
