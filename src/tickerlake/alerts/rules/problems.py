"""What is wrong with a file of rules."""

from typing import NamedTuple

from tickerlake.errors import UsageError


class RuleProblem(NamedTuple):
    """Something that is wrong with a file of rules: where, with which rule, what, and what to do."""

    line: int
    rule: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        rule = f"rule {self.rule}: " if self.rule else ""
        return f"line {self.line}: {rule}{self.message} {self.hint}".rstrip()


class RulesError(UsageError):
    """A file of rules is wrong; ``problems`` has everything that is.

    Parameters
    ----------
    name
        The file.
    problems
        By line.
    """

    def __init__(self, name: str, problems: list[RuleProblem]) -> None:
        self.problems = sorted(problems)
        listing = "\n".join(f"  {problem}" for problem in self.problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{name} has {count}:\n{listing}\n", "See docs/alerts.md.")
