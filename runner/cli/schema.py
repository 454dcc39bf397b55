"""planrun schema: print the JSON schema that editors read."""

from __future__ import annotations

import click


@click.command(
    epilog="\b\nExamples:\n  planrun schema > plan.schema.json\n  planrun schema --template > template.schema.json"
)
@click.option("--template", is_flag=True, help="Print the schema of a template file instead of a plan.")
@click.option("--cases", is_flag=True, help="Print the schema of a file of cases, which `planrun test` runs.")
@click.option("--output-json", is_flag=True, help="Print the schema of what the commands print with `-o json`.")
def command(template: bool, cases: bool, output_json: bool) -> int:
    """Print the JSON schema of a plan (draft 2020-12), as this version of planrun reads it."""
    from runner.errors import UsageError
    from runner.language.case_schema import case_schema
    from runner.language.schema import as_text, plan_schema, template_schema
    from runner.report.output_schema import output_schema

    chosen = {"--template": template, "--cases": cases, "--output-json": output_json}
    names = [name for name, given in chosen.items() if given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} name {len(names)} schemas", hint="give one of them", code="PR0601")
    made = {"--template": template_schema, "--cases": case_schema, "--output-json": output_schema, "": plan_schema}
    print(as_text(made["".join(names)]()), end="")
    return 0
