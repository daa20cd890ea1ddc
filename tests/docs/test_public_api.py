"""What a project may import is what the reference says, and changes only on purpose."""

from pathlib import Path
from types import ModuleType

import partitioned_etl

SIGNATURES = Path(__file__).with_name("public_api.txt")


def test_a_signature_changes_only_together_with_the_version(generate: ModuleType) -> None:
    listed = SIGNATURES.read_text(encoding="utf-8").splitlines()
    assert list(generate.list_signatures()) == listed, (
        "a line that changes or goes breaks projects: see docs/reference.md for what that takes"
    )


def test_what_is_public_is_listed_once_and_is_there() -> None:
    names = {line.partition("(")[0].partition(".")[0] for line in SIGNATURES.open("r", -1, "utf-8")}
    own = {name for name in vars(partitioned_etl) if not name.startswith("_")}
    lazy = set(dir(partitioned_etl)) - set(vars(partitioned_etl))
    assert {name.partition(" ")[0].strip() for name in names} == lazy
    for name in lazy:
        assert getattr(partitioned_etl, name).__module__.startswith(("partitioned_etl.", "types"))
    assert own <= {
        "logging",
        "import_module",
        "TYPE_CHECKING",
        "Any",
        "cli",
        "components",
        "engine",
    }
