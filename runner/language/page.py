"""The lines of a formatted YAML text, with trailing comments aligned in columns. Pure."""

from __future__ import annotations

from itertools import groupby


class Page:
    """The lines so far, and the trailing comments: (number of the line, old column, text)."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.behind: list[tuple[int, int, str]] = []
        self.comments: list[str] = []
        self.parts: list[str] = []  # of the current line; a line may contain a whole file
        self.column = 0
        self.blank = False

    @property
    def at_start(self) -> bool:
        """Whether the current line is empty."""
        return not self.parts

    def write(self, text: str, column: int, space: str) -> None:
        """Add text at `column` of a new line, or after `space` to the current line."""
        if self.at_start:
            self.begin_line(column)
            space = ""
        first, *others = text.split("\n")
        self.add(space + first)
        for other in others:
            self.end_line()
            self.add(other)

    def begin_line(self, column: int) -> None:
        """Begin a line with spaces up to `column`, after a blank one if that was requested."""
        if self.blank and self.lines:
            self.lines.append("")
        self.blank = False
        self.add(" " * column)

    def add(self, text: str) -> None:
        """Add text without a line break to the current line."""
        self.parts.append(text)
        self.column += len(text)

    def end_line(self, *, blank: bool = False) -> None:
        """End the current line, if there is one. blank: leave one blank line, however often this is requested."""
        if self.parts:
            self.lines.append("".join(self.parts))
        self.parts, self.column, self.blank = [], 0, self.blank or blank

    def comment(self, text: str, column: int) -> None:
        """Add a comment: on a line of its own at `column`, or after the text of a line; then `column` is its old
        column."""
        self.comments.append(text)
        if self.at_start:
            self.begin_line(column)
            self.add(text)
        else:
            self.behind.append((len(self.lines), column, text))
        self.end_line()

    def text(self) -> str:
        """Return all lines; trailing comments that were aligned stay aligned."""
        self.end_line()
        for _, neighbours in groupby(self.behind, lambda one: one[1]):
            group = list(neighbours)
            least = max(len(self.lines[number]) for number, _, _ in group) + 2
            column = max(group[0][1], least) if len(group) > 1 else least
            for number, _, text in group:
                self.lines[number] = self.lines[number].ljust(column) + text
        return "".join(f"{line}\n" for line in self.lines)
