"""Names of what is put aside: they fit, they are free, and they are the same every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.refresh import naming

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=63)


def test_a_short_name_stays_itself() -> None:
    assert naming.aside("Area", ()) == "backup_Area"
    assert naming.shadow_schema("public") == "planrun_shadow_public"


def test_a_taken_name_gets_a_hash() -> None:
    first = naming.aside("Area", {"backup_Area"})
    assert first.startswith("backup_Area_") and first == naming.aside("Area", {"backup_Area", "other"})
    assert naming.aside("Area", {"backup_Area", first}) not in {"backup_Area", first}


def test_two_long_names_that_are_cut_to_the_same_stay_two() -> None:
    long = "a" * 60
    assert naming.aside(f"{long}xyz", ()) != naming.aside(f"{long}uvw", ())


@given(NAMES, st.sets(NAMES, max_size=5))
def test_every_name_fits_and_is_free(name: str, taken: set[str]) -> None:
    found = naming.aside(name, taken | {"backup_" + name})
    assert len(found.encode()) <= 63
    assert found not in taken | {"backup_" + name}
    assert "\ufffd" not in found or "\ufffd" in name
