"""Where the process starts: it handles signals first, and then imports the commands."""

from tickerlake.cli import interrupt


def main() -> None:
    """Run the command line; an error becomes one sentence, a remedy and an exit code."""
    interrupt.run(_run)


def _run() -> int:
    from tickerlake.cli import commands

    return commands.run()
