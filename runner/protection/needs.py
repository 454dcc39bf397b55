"""Which steps must have succeeded before a step may remove something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.losses import Good, Loss, Protection, same_table
from runner.model import UNKNOWN
from runner.protection.graph import Node
from runner.record import dataclass
from runner.table_name import TableName


@dataclass(frozen=True, kw_only=True)
class Need:
    """One of these steps must have ended ok before the loss. by_name: its name shows that they contain the table.

    without: backups that are known not to contain it; if there are no others, `any_of` is empty.
    """

    loss: Loss
    any_of: tuple[Node, ...]
    by_name: bool = False
    without: tuple[Node, ...] = ()

    def same_list(self, node: Node) -> frozenset[int]:
        """Return the order of those whose loop is empty only if the loop of this step is empty, too."""
        return frozenset(one.order for one in self.any_of if one.own_list and one.own_list in node.lists)


@dataclass(frozen=True)
class Block:
    """The steps of a plan, or of its rollback, that protect something or swap, in order. making: created tables, by
    name."""

    protecting: Sequence[Node]
    making: Mapping[str, Sequence[tuple[int, TableName]]]
    swapping: Sequence[Node]

    @classmethod
    def of(cls, leaves: Sequence[Node]) -> Block:
        making: dict[str, list[tuple[int, TableName]]] = {}
        for one in leaves:
            for table in one.makes:
                making.setdefault(table.name, []).append((one.order, table))
        return cls(
            protecting=[one for one in leaves if one.protections],
            making=making,
            swapping=[one for one in leaves if any(loss.good is Good.LIVE for loss in one.losses)],
        )


def needs_of(node: Node, block: Block) -> tuple[Need, ...]:
    """Return what a step needs, nothing if no step of its block protects what it removes."""
    if node.step.acknowledge:
        return ()
    return tuple(dict.fromkeys(need for loss in node.losses for need in _needs_of_loss(node, loss, block)))


def _needs_of_loss(node: Node, loss: Loss, block: Block) -> Iterator[Need]:
    found = [(one, by) for one in block.protecting for by in one.protections if _protects(by, loss)]
    found = _before(node, loss, found, block)
    if not found:
        return
    if loss.tables:
        for table in loss.tables:
            if not _is_made_before(node, table, block):
                yield _need_of_table(loss, table, found)
    elif any(by.whole for _, by in found):
        yield from (Need(loss=loss, any_of=(one,)) for one, _ in found)
    else:
        yield Need(loss=loss, any_of=_nodes(found))


_Found = list[tuple[Node, Protection]]


def _protects(by: Protection, loss: Loss) -> bool:
    return by.good is loss.good and (by.place == loss.place or UNKNOWN in (by.place, loss.place))


def _before(node: Node, loss: Loss, found: _Found, block: Block) -> _Found:
    """Return the earlier ones (for a swap, those since the last swap); if there are none, all of them, which are too
    late."""
    before = [(one, by) for one, by in found if one.order < node.order]
    if loss.good is Good.LIVE:
        swaps = [one.order for one in block.swapping if one.order < node.order]
        before = [pair for pair in before if pair[0].order > max(swaps, default=-1)] or before
    return before or found


def _is_made_before(node: Node, table: TableName, block: Block) -> bool:
    """Return whether an earlier step creates the table; if that step fails, the table does not exist."""
    made = block.making.get(table.name, ())
    return any(order < node.order and same_table(table, one) for order, one in made)


def _need_of_table(loss: Loss, table: TableName, found: _Found) -> Need:
    holding = [(one, by) for one, by in found if by.tables is None or any(same_table(table, t) for t in by.tables)]
    without = _nodes(pair for pair in found if pair not in holding)
    by_name = bool(holding) and all(by.tables is not None for _, by in holding)
    return Need(loss=loss, any_of=_nodes(holding), by_name=by_name, without=without)


def _nodes(found: Iterable[tuple[Node, Protection]]) -> tuple[Node, ...]:
    return tuple({one.order: one for one, _ in found}.values())
