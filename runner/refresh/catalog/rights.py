"""Check the rights of the role before tables are swapped or dropped, so that the server does not fail half-way."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.errors import TargetError
from runner.refresh.ledger import Ask
from runner.refresh.swap.renames import Move


def refuse_without(
    ask: Ask,
    template: Callable[..., str],
    *,
    use: Iterable[str] = (),
    create: Iterable[str] = (),
    owners: Iterable[str] = (),
    owned: Iterable[int] = (),
    locked: Iterable[int] = (),
) -> None:
    """Raise TargetError with every missing right and the statement that grants it.

    use, create: schemas; a missing one in `create` will be created. owners: roles that will own tables in those. owned,
    locked: OIDs of relations that are altered or dropped, or only locked.
    """
    names = {"use": use, "create": create, "owners": owners}
    oids = {"owned": owned, "locked": locked}
    values = {key: sorted(set(each)) for key, each in names.items()}
    text = template("catalog/may.sql.j2", **values, **{key: sorted(set(each)) for key, each in oids.items()})
    found = ask(text)
    if found:
        raise TargetError(
            "; ".join(dict.fromkeys(str(row["problem"]) for row in found)),
            hint=f"a role that may do so runs: {'; '.join(dict.fromkeys(str(row['remedy']) for row in found))}",
            sqlstate="42501",
            code="PR0411",
        )


def to_move(ask: Ask, template: Callable[..., str], moves: Iterable[Move]) -> None:
    """Raise TargetError if a right is missing to rename relations or to move them to other schemas."""
    every = list(moves)
    tables = [move.relation for move in every if move.relation.is_table]
    refuse_without(
        ask,
        template,
        use={move.relation.schema for move in every},
        create={move.schema for move in every},
        owners={one.owner for one in tables},
        owned={one.oid for one in tables},
    )
