"""Which steps must have succeeded before a step may take something away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runner.losses import Good, Loss, Protection, same_table
from runner.model import UNKNOWN
from runner.protection.graph import Node
from runner.table_name import TableName


@dataclass(frozen=True, kw_only=True)
class Need:
    """One of these steps must have ended ok before the loss. by_name: that they hold the table is known by its name.

    without: backups that are known not to hold it; when there are no others, `any_of` is empty.
    """

    loss: Loss
    any_of: tuple[Node, ...]
    by_name: bool = False
    without: tuple[Node, ...] = ()


def needs_of(node: Node, leaves: Sequence[Node]) -> tuple[Need, ...]:
    """Return what a step needs, nothing when the plan has no step that protects what it takes away.

    leaves: all steps of kinds of its block, in order.
    """
    if node.step.acknowledge:
        return ()
    return tuple(dict.fromkeys(need for loss in node.losses for need in _needs_of_loss(node, loss, leaves)))


def _needs_of_loss(node: Node, loss: Loss, leaves: Sequence[Node]) -> Iterator[Need]:
    found = [(one, by) for one in leaves for by in one.protections if _protects(by, loss) and one is not node]
    found = _before(node, loss, found, leaves)
    if not found:
        return
    if loss.tables:
        for table in loss.tables:
            if not _made_before(node, table, leaves):
                yield _need_of_table(loss, table, found)
    elif any(by.whole for _, by in found):
        yield from (Need(loss=loss, any_of=(one,)) for one, _ in found)
    else:
        yield Need(loss=loss, any_of=_nodes(found))


_Found = list[tuple[Node, Protection]]


def _protects(by: Protection, loss: Loss) -> bool:
    return by.good is loss.good and (by.place == loss.place or UNKNOWN in (by.place, loss.place))


def _before(node: Node, loss: Loss, found: _Found, leaves: Sequence[Node]) -> _Found:
    """Return those that come before, for a swap since the last one; all of them, too late, if there are none."""
    before = [(one, by) for one, by in found if one.order < node.order]
    if loss.good is Good.LIVE:
        swaps = [one.order for one in leaves if one.order < node.order and any(map(_swaps, one.losses))]
        before = [pair for pair in before if pair[0].order > max(swaps, default=-1)] or before
    return before or found


def _swaps(loss: Loss) -> bool:
    return loss.good is Good.LIVE


def _made_before(node: Node, table: TableName, leaves: Sequence[Node]) -> bool:
    """Return whether an earlier step makes the table; if that fails, it is not there or the plan says so itself."""
    return any(same_table(table, made) for one in leaves if one.order < node.order for made in one.makes)


def _need_of_table(loss: Loss, table: TableName, found: _Found) -> Need:
    holding = [(one, by) for one, by in found if by.tables is None or any(same_table(table, t) for t in by.tables)]
    without = _nodes(pair for pair in found if pair not in holding)
    by_name = bool(holding) and all(by.tables is not None for _, by in holding)
    return Need(loss=loss, any_of=_nodes(holding), by_name=by_name, without=without)


def _nodes(found: Iterable[tuple[Node, Protection]]) -> tuple[Node, ...]:
    return tuple({one.order: one for one, _ in found}.values())
