"""The lines of a YAML text that is laid out anew, with the comments behind them in columns. Pure."""

from __future__ import annotations

from itertools import groupby


class Page:
    """The lines so far, and the comments that stand behind what is in a line: (number of the line, column, text)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.behind: list[tuple[int, int, str]] = []
        self.comments: list[str] = []
        self.parts: list[str] = []  # of the line that has begun; a line may hold a whole file
        self.column = 0
        self.blank = False

    @property
    def at_start(self) -> bool:
        """Whether no line has begun."""
        return not self.parts

    def write(self, text: str, column: int, space: str) -> None:
        """Add text at `column` of a new line, or after `space` to the line that has begun."""
        if self.at_start:
            self.begin_line(column)
            space = ""
        first, *others = text.split("\n")
        self.add(space + first)
        for other in others:
            self.end_line()
            self.add(other)

    def begin_line(self, column: int) -> None:
        """Begin a line with spaces up to `column`, below a free one if that was asked for."""
        if self.blank and self.lines:
            self.lines.append("")
        self.blank = False
        self.add(" " * column)

    def add(self, text: str) -> None:
        """Add text without a line break to the line that has begun."""
        self.parts.append(text)
        self.column += len(text)

    def end_line(self, *, blank: bool = False) -> None:
        """End the line that has begun, if one has. blank: leave one line free, however often this is said."""
        if self.parts:
            self.lines.append("".join(self.parts))
        self.parts, self.column, self.blank = [], 0, self.blank or blank

    def comment(self, text: str, column: int) -> None:
        """Add a comment: in a line of its own at `column`, or behind what is there, where it was in this column."""
        self.comments.append(text)
        if self.at_start:
            self.begin_line(column)
            self.add(text)
        else:
            self.behind.append((len(self.lines), column, text))
        self.end_line()

    def text(self) -> str:
        """Return all lines, with the comments behind them aligned where they were."""
        self.end_line()
        for _, neighbours in groupby(self.behind, lambda one: one[1]):
            group = list(neighbours)
            least = max(len(self.lines[number]) for number, _, _ in group) + 2
            column = max(group[0][1], least) if len(group) > 1 else least
            for number, _, text in group:
                self.lines[number] = self.lines[number].ljust(column) + text
        return "".join(f"{line}\n" for line in self.lines)
