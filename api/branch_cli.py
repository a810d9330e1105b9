"""`tidings branch`: the branches there are, what they differ by, and their end."""

import typer

from api.cli import run, settings_with

branching = typer.Typer(no_args_is_help=True, help="Other histories: what if?")


@branching.command("list")
def list_branches() -> None:
    """All branches, the newest first."""
    from api import operating_branches as operating  # noqa: PLC0415 the others start faster without

    run(operating.list_branches(settings_with()))


@branching.command("diff")
def diff(branch: str) -> None:
    """What a branch differs by: documents, money, stock, and what makes no sense any more."""
    from api import operating_branches as operating  # noqa: PLC0415

    run(operating.print_diff(settings_with(), branch))


@branching.command("remove")
def remove(branch: str) -> None:
    """Forget a branch and all that is stored of it."""
    from api import operating_branches as operating  # noqa: PLC0415

    run(operating.remove_branch(settings_with(), branch))
