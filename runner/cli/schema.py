"""planrun schema: the JSON schema that editors read."""

from __future__ import annotations

import click


@click.command(
    epilog="\b\nExamples:\n  planrun schema > plan.schema.json\n  planrun schema --template > template.schema.json"
)
@click.option("--template", is_flag=True, help="The schema of a template file instead of a plan's.")
def command(template: bool) -> int:
    """Print the JSON schema of a plan (draft 2020-12), derived from the kinds of this version."""
    from runner.language.schema import as_text, plan_schema, template_schema

    print(as_text(template_schema() if template else plan_schema()), end="")
    return 0
