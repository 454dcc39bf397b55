"""Templates: what they may do, what they may read, and which line an error points at."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Mark, PlanError, PlanrunError
from runner.model import UNKNOWN
from runner.safesql import budget
from runner.safesql.templates import BadTemplateName, Templates
from runner.sqltext import Inline

Make = Callable[..., Templates]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Templates over a folder sql/ that holds the given files."""
    monkeypatch.chdir(tmp_path)

    def make_templates(**files: str) -> Templates:
        (tmp_path / "sql").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "sql" / f"{name}.sql").write_text(text, newline="")
        return Templates([tmp_path / "sql"])

    return make_templates


def problem(call: Callable[[], Any]) -> tuple[str, int, int, str, str]:
    with pytest.raises(PlanError) as info:
        call()
    found = info.value.problems[0]
    return (*found.where, found.message, found.hint)


def inline(text: str, **values: Any) -> str:
    return str.__str__(Templates([]).sql(Inline(text), **values))


# ------------------------------------------------------------------ what comes out


def test_a_file_with_values(make: Make) -> None:
    templates = make(
        drop="-- drops\n{% for t in tables %}\ndrop table {{ t|qualified }};\n{% endfor %}\n"
        "select {{ why }}, {{ n }};\n"
    )
    tables = [{"schema": "public", "name": "Area"}, {"schema": "s", "name": 'b"c'}]
    assert templates.sql("drop.sql", tables=tables, why="it's", n=-1) == (
        '-- drops\ndrop table "public"."Area";\ndrop table "s"."b""c";\nselect \'it\'\'s\',  -1;\n'
    )


def test_values_may_have_any_name() -> None:
    assert inline("select {{ name }}, {{ values }}, {{ _x }}", name=1, values=2, _x=3) == "select 1, 2, 3"


def test_lists_and_fields() -> None:
    values = {"names": ["a", "b"], "row": {"items": 1, "x": {"y": "z"}}}
    assert (
        inline("{{ names|literals }} {{ names|idents }} {{ names }}", **values) == """'a', 'b' "a", "b" '{"a","b"}'"""
    )
    assert inline("{{ row.items }} {{ row.x.y }} {{ row['x']['y'] }} {{ names[0] }}", **values) == "1 'z' 'z' 'a'"
    assert inline("{% for n in names|map('upper')|sort %}{{ n }} {% endfor %}", **values) == "'A' 'B' "


def test_what_a_template_may_say() -> None:
    assert inline("{% set a = b|ident %}{{ a }}", b="x") == '"x"'
    assert inline("{{ ('backup_' ~ t)|ident }}", t="x") == '"backup_x"'
    assert inline("{% if n > 1 and x is defined %}{{ n + 1 }}{% else %}0{% endif %}", n=2, x=1) == "3"
    assert inline("{{ x|default('d') }} {{ a if b else none }}", a=1, b=False) == "'d' NULL"
    assert inline("{% for t in ts %}{{ t }}{% if not loop.last %}, {% endif %}{% endfor %}", ts=[1, 2]) == "1, 2"
    assert inline("{% raw %}select '{{1,2}}'::int[]{% endraw %}, {{ a }}", a=1) == "select '{{1,2}}'::int[], 1"
    assert inline("{# {{ not here }} #}select {{ t|ident|literal }}", t="A") == "select '\"A\"'"


def test_nothing_done_to_a_quoted_value_stays_quoted() -> None:
    assert inline("{{ t|ident|upper }}", t="a") == "'\"A\"'"
    assert inline("{{ t|ident ~ t }}", t="a") == "'\"a\"a'"
    assert inline("{{ (t|ident)[1:] }}", t="a") == "'a\"'"


def test_windows_line_ends_and_a_byte_order_mark(make: Make) -> None:
    templates = make(a="\ufeffselect\r\n{{ nope }}\r\n")
    assert problem(lambda: templates.sql("a.sql"))[:3] == ("sql/a.sql", 2, 1)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% macro m(x) %}{{ x }}{% endmacro %}{{ m(v) }}", "Macro"),
        ("{% call m() %}{{ v }}{% endcall %}", "CallBlock"),
        ("{% set b %}select {{ v }}{% endset %}{{ b }}", "AssignBlock"),
        ("{% filter upper %}select {{ v }}{% endfilter %}", "FilterBlock"),
        ("{% import 'a.sql' as a %}", "Import"),
        ("{% from 'a.sql' import b %}", "FromImport"),
        ("{% extends 'a.sql' %}", "Extends"),
        ("{% block b %}{% endblock %}", "Block"),
        ("{% with a = 1 %}{% endwith %}", "With"),
        ("{{ range(10) }}", "Call"),
        ("{{ lipsum() }}", "Call"),
        ("{{ v.upper() }}", "Call"),
        ("{{ '{0.__class__}'.format(v) }}", "Call"),
        ("{{ '%s' % v }}", "Mod"),
        ("{{ 'a' * 10 ** 10 }}", "Mul"),
        ("{{ 2 ** 99 }}", "Pow"),
        ("{{ {'a': 1} }}", "Dict"),
        ("{{ self }}", "'self' cannot be the name of a value"),
        ("{% include v %}", "an include names one template"),
        ("{% include ['a.sql'] %}", "an include names one template"),
        ("{% include 'a.sql' ignore missing %}", "an include names one template"),
        ("{% include 'a.sql' without context %}", "an include names one template"),
        ("{% for x in vs recursive %}{{ loop(x) }}{% endfor %}", "a recursive loop"),
        ("{{ v.__class__ }}", "'__class__' is not a field"),
        ("{{ v.__class__.__mro__[1].__subclasses__() }}", "Call"),
        ("{{ v|attr('upper') }}", "no filter is called 'attr'"),
        ("{{ vs|join(', ') }}", "no filter is called 'join'"),
        ("{{ v|safe }}", "no filter is called 'safe'"),
        ("{{ v|raw }}", "no filter is called 'raw'"),
        ("{{ v|tojson }}", "no filter is called 'tojson'"),
        ("{{ v|format }}", "no filter is called 'format'"),
        ("{{ v|_wrap(0, false) }}", "no filter is called '_wrap'"),
        ("{{ v is sameas 1 }}", "no test is called 'sameas'"),
        ("{% do v %}", "Encountered unknown tag 'do'"),
        ("{% if %}", "Expected an expression"),
        ("{{ v ", "unexpected end of template"),
    ],
)
def test_tricks_are_refused(text: str, message: str) -> None:
    found = problem(lambda: inline(f"\n  {text}", v="v", vs=["v"]))
    assert found[3].startswith(message)
    assert found[1] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ v['__class__'] }}", "access to attribute '__class__'"),
        ("{{ vs|map(attribute='__class__')|first }}", "access to attribute '__class__'"),
        ("{{ vs|map(attribute='__class__')|list }}", "cannot be an element of an array"),
        ("{{ vs|map('safe')|list }}", "No filter named 'safe'"),
        ("{{ v.upper }}", "'str object' has no attribute 'upper'"),
        ("{{ d }}", "a mapping cannot be written"),
        ("{{ 1 + v }}", "TypeError"),
        ("{{ v|ident|ident }}", "this is finished SQL already"),
        ("{{ d|ident }}", "a name must be a text"),
        ("{{ []|idents }}", "the list is empty"),
        ("{{ v|qualified }}", "`qualified` needs a table"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{% for x in nothing %}{% endfor %}", "'nothing' is undefined"),
        ("{{ d.c }}", "there is no field 'c'; known: a"),
    ],
)
def test_what_only_a_run_shows(text: str, message: str) -> None:
    found = problem(lambda: inline(f"\n  {text}", v="v", vs=["v"], d={"a": 1}))
    assert message in found[3]
    assert found[1] == 2


def test_autoescape_is_refused() -> None:
    found = problem(lambda: inline("{% autoescape true %}{{ v }}{% endautoescape %}", v=1))
    assert found[3].endswith("is not allowed in a template")


def test_the_inner_filter_gives_nothing_that_is_trusted() -> None:
    assert inline("{{ vs|map('_wrap', 3, false)|first }}", vs=["x'; y"]) == "'x''; y'"


@pytest.mark.parametrize("text", ["(" * 5000, "{{ " + "(" * 5000, "{% if a %}" * 200, "{{ " + "not " * 5000 + "a }}"])
def test_deep_nesting_is_an_error(text: str) -> None:
    if text.startswith("("):
        assert inline(text) == text
    else:
        problem(lambda: inline(text, a=1))


def test_a_template_that_includes_itself(make: Make) -> None:
    templates = make(a="{% include 'b.sql' %}", b="{% include 'a.sql' %}")
    assert "without end" in problem(lambda: templates.sql("a.sql"))[3]
    assert templates.missing_names("a.sql", {}) == []


def test_control_of_the_message(make: Make) -> None:
    secret = "hunter2"
    for text in ("{{ v }}", "'{{ v }}'", "-- {{ v }}", "{{ {'a': v} }}", "{{ d }}", "x{{ v }}"):
        try:
            inline(text, v=secret, d={"a": secret})
        except PlanrunError as exc:
            assert secret not in str(exc)


# ------------------------------------------------------------------ whole tokens


@pytest.mark.parametrize(
    "text",
    [
        *("select '{{ v }}'", "select 'a {{ v }}'", 'select "{{ v|ident }}"', "select 1 -- {{ v }}\n", "/* {{ v }} */"),
        *("select x{{ v }}", "select{{ n }}", "select 1{{ n }}", "select {{ n }}{{ n }}", "select {{ n }}.5"),
        *(
            "select {{ v }}{{ v }}",
            "select {{ v }}\n{{ v }}",
            "select {{ v }}\n'b'",
            "select E{{ v }}",
            "select x'{{ n }}'",
        ),
        *("select U&{{ v }}", "select U&{{ v|ident }}", "select N{{ v }}", "select B{{ v }}", "select ${{ n }}"),
        *("alter table backup_{{ v|ident }} rename to x", "select {{ v|ident }}{{ v|ident }}", "select {{ n }}e5"),
        *("do $${{ s }}$$", "do $$ begin perform '{{ v }}'; end $$", "do $$ begin -- {{ v }}\n end $$"),
        *("do $$ begin execute 'select {{ v }}'; end $$", "do $a$ begin perform {{ tag }}; end $a$"),
        *("do $$ begin perform {{ dollars }}; end $$", "do $a$ do $b$ perform '{{ v }}' $b$ $a$"),
        *("do $$ print({{ v }}) $$ language plpython3u", "do language plperl $$ {{ v|ident }} $$"),
        *("create function f() returns int as $$ {{ v }} $$ language 'plpython3u'", "select '\\', {{ v }}"),
        *("select E'a' '\\', {{ v }}", "select 'a''\\\\\\'', {{ v }}", "do $$ select '\\', {{ v }} $$", "$${{ v }}"),
    ],
)
def test_a_value_that_is_no_whole_token_is_refused(text: str) -> None:
    values = {"v": "it", "n": 5, "s": "x", "tag": "$a$; drop", "dollars": "$$; drop"}
    problem(lambda: inline(text, **values))


@pytest.mark.parametrize(
    "text",
    [
        *("select {{ v }}, {{ n }}", "select {{ v }}::text", "select ({{ v }})", "select {{ v|ident }}.{{ v|ident }}"),
        *(
            "select 1-{{ m }}",
            "select -{{ m }}",
            "select a[{{ n }}]",
            "select 'é😀', {{ v }}",
            "select f({{ v }},{{ n }})",
        ),
        *("do $$ begin perform {{ v }}; end $$", "do $a$ begin execute $b$ select {{ v }} $b$; end $a$"),
        *("create function f() returns int as $$ select {{ n }} $$ language sql", "select '^\\d+$', {{ v }}"),
        *("select E'\\'', {{ v }}", "select 'a\\\\', {{ v }}", "do $$ begin perform {{ v }}; end $$ language plpgsql"),
    ],
)
def test_whole_tokens_pass(text: str) -> None:
    for value in ("it", "it's", "back\\slash", "--", "/*", "é😀"):
        inline(text, v=value, n=5, m=-1)


def test_the_hint_says_what_to_do() -> None:
    assert "remove them" in problem(lambda: inline("select '{{ v }}'", v="x"))[4]
    assert "('backup_' ~ name)|ident" in problem(lambda: inline("select a_{{ v|ident }}", v="x"))[4]


# ------------------------------------------------------------------ which files


def test_only_the_folders_are_read(make: Make, tmp_path: Path) -> None:
    templates = make(a="select 1")
    (tmp_path / "out.sql").write_text("select 'secret'")
    (tmp_path / "sql" / "link.sql").symlink_to(tmp_path / "out.sql")
    (tmp_path / "sql" / "up").symlink_to(tmp_path)
    (tmp_path / "sql" / "loop.sql").symlink_to("loop.sql")
    (tmp_path / "sql" / "folder").mkdir()
    names = ["../out.sql", "x/../../out.sql", str(tmp_path / "out.sql"), "link.sql", "up/out.sql", "loop.sql", "folder"]
    for name in [*names, "", ".", "./a.sql", "a.sql/", "a\0.sql", "a\ud800.sql", "..\\out.sql", "nope.sql"]:
        with pytest.raises(BadTemplateName) as info:
            templates.sql(name)
        assert "secret" not in str(info.value)
    (tmp_path / "sql" / "inc.sql").write_text("{% include '../out.sql' %}")
    assert problem(lambda: templates.sql("inc.sql"))[:3] == ("sql/inc.sql", 1, 1)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        inline("select {{ " + "9" * 5000 + " }}")
    with pytest.raises(PlanError, match="a number is too large"):
        inline("select {{ 1e999 }}")


def test_a_link_inside_the_folder_is_fine(make: Make, tmp_path: Path) -> None:
    templates = make(a="select 1")
    (tmp_path / "sql" / "b.sql").symlink_to("a.sql")
    assert templates.sql("b.sql") == "select 1"


def test_a_missing_template_says_what_there_is(make: Make) -> None:
    with pytest.raises(BadTemplateName) as info:
        make(orders="select 1").sql("order.sql")
    assert info.value.hint == "did you mean 'orders.sql'?"
    assert info.value.exit_code == 5


def test_one_name_in_two_folders_is_refused(make: Make, tmp_path: Path) -> None:
    make(a="select 1")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.sql").write_text("select 2")
    with pytest.raises(BadTemplateName, match="two folders"):
        Templates([tmp_path / "sql", tmp_path / "own"]).sql("a.sql")
    assert Templates([tmp_path / "sql", tmp_path / "sql"]).sql("a.sql") == "select 1"


def test_a_file_that_is_not_text(make: Make, tmp_path: Path) -> None:
    templates = make()
    (tmp_path / "sql" / "a.sql").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in problem(lambda: templates.sql("a.sql"))[3]
    (tmp_path / "sql" / "b.sql").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    assert "larger" in problem(lambda: templates.sql("b.sql"))[3]


def test_a_file_is_read_once(make: Make, tmp_path: Path) -> None:
    templates = make(a="select {{ v }}")
    assert templates.sql("a.sql", v=1) == "select 1"
    (tmp_path / "sql" / "a.sql").unlink()
    assert templates.sql("a.sql", v=2) == "select 2"


# ------------------------------------------------------------------ which line


def test_every_character_knows_its_line(make: Make) -> None:
    templates = make(
        main="-- header\n{% for t in tables %}\n  alter table {{ t|ident }}\n    rename to x;\n{% endfor %}\n"
        "{% include 'inc.sql' %}\nselect 'end';\n",
        inc="-- inc\nselect {{ 1 }} as a, {{ 2 }} as b;\n",
    )
    rendered = templates.sql("main.sql", tables=["A", "B"])
    for text, nth, place in [
        ("-- header", 0, ("sql/main.sql", 1, 1)),
        ("alter", 0, ("sql/main.sql", 3, 3)),
        ('"A"', 0, ("sql/main.sql", 3, 15)),
        ('"B"', 0, ("sql/main.sql", 3, 15)),
        ("rename", 1, ("sql/main.sql", 4, 5)),
        ("-- inc", 0, ("sql/inc.sql", 1, 1)),
        ("1 as", 0, ("sql/inc.sql", 2, 8)),
        ("as a", 0, ("sql/inc.sql", 2, 16)),
        ("2 as", 0, ("sql/inc.sql", 2, 22)),
        ("'end'", 0, ("sql/main.sql", 7, 8)),
    ]:
        offset = -1
        for _ in range(nth + 1):
            offset = rendered.index(text, offset + 1)
        assert rendered.place(offset) == place, text
    assert rendered.place(len(rendered) + 10).line == 7


def test_the_rendered_text_is_text(make: Make) -> None:
    rendered = make(a="select {{ v }}").sql("a.sql", v="é")
    assert rendered == "select 'é'"
    assert rendered.encode() == "select 'é'".encode()
    assert type(copy.deepcopy(rendered)) is type(pickle.loads(pickle.dumps(rendered))) is str
    assert json.dumps(rendered, ensure_ascii=False) == "\"select 'é'\""


def test_errors_point_at_the_line_of_an_inline_text() -> None:
    def at(source: str, offset: int) -> Mark:
        return Mark("plan.yml", 10 + source[:offset].count("\n"), 1)

    with pytest.raises(PlanError) as info:
        Templates([]).render(Inline("select 1,\n\n'{{ v }}'"), {"v": 1}, at)
    assert info.value.problems[0].where == Mark("plan.yml", 12, 1)


# ------------------------------------------------------------------ unknown values


def test_probe_has_something_for_every_use() -> None:
    text = (
        "select {{ a }}, {{ b.c }} from {{ t|qualified }}, {{ s|ident }}.{{ s.x|ident }} where x in ({{ l|literals }})"
        "{% for i in l %} and {{ i.n|ident }} = {{ i }}{% endfor %}{% if b.flag > 3 %} and {{ b + 1 }}{% endif %}"
        " and {{ l[0] }} and {{ ('x_' ~ s)|ident }} and {{ l|length }} and {{ [a, 1] }} order by {{ l|idents }}"
    )
    names = dict.fromkeys("abtsl", UNKNOWN)
    rendered = Templates([]).probe(Inline(text), names)
    assert rendered.startswith("select '1', '1' from ")
    assert "{{" not in rendered
    assert len(Templates([]).probe(Inline(text), names, truth=False)) < len(rendered)


def test_missing_names_are_found_in_every_branch(make: Make) -> None:
    templates = make(
        a="{% if x %}{{ y }}{% else %}{{ z }}{% endif %}{% set q = 1 %}{{ q }}{% include 'b.sql' %}"
        "{% if w is defined %}{{ w }}{% endif %}{{ o|default(1) }}{% for i in x %}{{ i }}{{ loop.index }}{% endfor %}",
        b="{{ x }}{{ q }}\n{{ in_b }}",
    )
    found = templates.missing_names("a.sql", {"x": 1, "Y": 2})
    assert [(p.where.file, p.where.line, p.message) for p in found] == [
        ("sql/a.sql", 1, "'y' is undefined"),
        ("sql/a.sql", 1, "'z' is undefined"),
        ("sql/b.sql", 2, "'in_b' is undefined"),
    ]
    with pytest.raises(BadTemplateName):
        templates.missing_names("nope.sql", {})


# ------------------------------------------------------------------ plain text


def test_plain_text(make: Make) -> None:
    templates = make(
        summary="{% for t in ts %}\n{{ t.name|ljust(6) }}{{ t.rows|rjust(4) }}\n{% endfor %}\n"
        "{{ w|join(', ') }}{{ ok }}\n"
    )
    rows = [{"name": "it's", "rows": 5}]
    assert templates.text("summary.sql", ts=rows, w=["a", 1], ok=True) == "it's     5\na, 1true\n"
    assert problem(lambda: templates.text("summary.sql", ts=rows, w=["a"], ok={"a": 1}))[3:] == (
        "a value of type dict has no plain text",
        "name one of its fields",
    )
    assert problem(lambda: templates.text("summary.sql"))[:4] == ("sql/summary.sql", 1, 1, "'ts' is undefined")


_SIXTY = {"l": list(range(60)), "x": "x" * 8}
_FOUR, _ENDS = "{% for a in l %}" * 4, "{% endfor %}" * 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_FOUR + "select {{ a }};" + _ENDS, "more than 200,000 rounds"),
        (_FOUR + "{% set y = 1 %}" + _ENDS, "more than 200,000 rounds"),
        ("{% for a in l|map('abs') %}" * 4 + _ENDS, "more than 200,000 rounds"),
        ("{% for a in l %}" * 3 + "select '" + "y" * 200 + "';" + "{% endfor %}" * 3, "more than 16 MiB of text"),
        ("{% set x = x ~ x %}" * 50, "too large"),
        ("{% set x = x + x %}" * 50, "too large"),
        ("{% set x = [x, x] %}" * 50, "too large"),
        ("{% set x = (x, x) %}" * 50, "too large"),
        ("{% set x = x|replace('x', x) %}" * 50, "too large"),
        ("{{ l|batch(1000000000, 0)|list|length }}", "at most 10,000"),
        ("{{ l|sum(start=[]) }}", "`sum` adds numbers"),
        ("{{ 'x' * 1000000000 }}", "Mul is not allowed"),
        ("{% for a in range(1000000000) %}{% endfor %}", "Call is not allowed"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "Macro is not allowed"),
    ],
)
def test_what_a_template_makes_has_bounds(source: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_ROUNDS", 200_000)
    with pytest.raises(PlanError, match=message):
        Templates([]).render(Inline(source), _SIXTY)


def test_files_that_include_one_another_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "MAX_ROUNDS", 200_000)
    for number in range(40):
        (tmp_path / f"{number}.sql").write_text(f"{{% include '{number + 1}.sql' %}}" * 2)
    (tmp_path / "40.sql").write_text("select 1;")
    with pytest.raises(PlanError, match="more than 200,000 rounds"):
        Templates([tmp_path]).render("0.sql", {})


def test_an_ordinary_loop_is_far_from_the_bounds() -> None:
    source = "{% for a in l %}{% for b in l %}{% for c in l %}{{ c }};{% endfor %}{% endfor %}{% endfor %}"
    assert Templates([]).render(Inline(source), _SIXTY).count(";") == 60**3
