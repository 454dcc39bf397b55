"""planrun schema: print the JSON schema that editors read."""

from __future__ import annotations

import click


@click.command(
    epilog="\b\nExamples:\n  planrun schema > plan.schema.json\n  planrun schema --template > template.schema.json"
)
@click.option("--template", is_flag=True, help="Print the schema of a template file instead of a plan.")
@click.option("--output-json", is_flag=True, help="Print the schema of what the commands print with `-o json`.")
def command(template: bool, output_json: bool) -> int:
    """Print the JSON schema of a plan (draft 2020-12), as this version of planrun reads it."""
    from runner.errors import UsageError
    from runner.language.schema import as_text, plan_schema, template_schema
    from runner.report.output_schema import output_schema

    if template and output_json:
        raise UsageError("--template and --output-json name two schemas", hint="give one of them", code="PR0601")
    print(as_text(output_schema() if output_json else template_schema() if template else plan_schema()), end="")
    return 0
