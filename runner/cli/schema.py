"""planrun schema: print the JSON schema that editors read."""

from __future__ import annotations

import click


@click.command(
    epilog="\b\nExamples:\n  planrun schema > plan.schema.json\n  planrun schema --template > template.schema.json"
)
@click.option("--template", is_flag=True, help="Print the schema of a template file instead of a plan.")
def command(template: bool) -> int:
    """Print the JSON schema of a plan (draft 2020-12), as this version of planrun reads it."""
    from runner.language.schema import as_text, plan_schema, template_schema

    print(as_text(template_schema() if template else plan_schema()), end="")
    return 0
