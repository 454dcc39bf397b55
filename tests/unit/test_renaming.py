"""safesql.renaming: relations are called otherwise, everything else in the text stays byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.safesql import renaming
from runner.safesql.renaming import relations, rename, statements
from runner.safesql.syntax import BadSql, Token, tokens
from runner.sqltext import literal, qualified
from runner.table_name import TableName

NAMES = ("a", "a_id_seq", "i", 'Ar"ea', "größe", "order", "data", "x.y")
MAP = {TableName("public", name): TableName("sh", name) for name in NAMES}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CREATE TABLE public.a (\n id integer\n)", 'CREATE TABLE "sh"."a" (\n id integer\n)'),
        ('CREATE TABLE public."Ar""ea" ()', 'CREATE TABLE "sh"."Ar""ea" ()'),
        ("INSERT INTO public.a (id) VALUES (1)", 'INSERT INTO "sh"."a" (id) VALUES (1)'),
        ("ALTER TABLE ONLY public.b ADD FOREIGN KEY (x) REFERENCES public.a(id)",
         'ALTER TABLE ONLY public.b ADD FOREIGN KEY (x) REFERENCES "sh"."a"(id)'),
        ("CREATE INDEX i ON public.a USING btree (public.a(x))",
         'CREATE INDEX i ON "sh"."a" USING btree (public.a(x))'),
        ("CREATE UNIQUE INDEX i ON ONLY public.a (x)", 'CREATE UNIQUE INDEX i ON ONLY "sh"."a" (x)'),
        ("CREATE INDEX i ON public.a (x)", 'CREATE INDEX i ON "sh"."a" (x)'),
        ("ALTER INDEX public.i ATTACH PARTITION public.a", 'ALTER INDEX "sh"."i" ATTACH PARTITION "sh"."a"'),
        ("x integer DEFAULT nextval('public.a_id_seq'::regclass)",
         "x integer DEFAULT nextval('\"sh\".\"a_id_seq\"'::regclass)"),
        ("'public.a'::pg_catalog.regtype", "'\"sh\".\"a\"'::pg_catalog.regtype"),
        ("'public.\"Ar\"\"ea\"'::regclass", "'\"sh\".\"Ar\"\"ea\"'::regclass"),
        ("COMMENT ON COLUMN public.a.id IS 'public.a'", "COMMENT ON COLUMN \"sh\".\"a\".id IS 'public.a'"),
        ("CREATE TRIGGER t AFTER INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.a()",
         'CREATE TRIGGER t AFTER INSERT ON "sh"."a" FOR EACH ROW EXECUTE FUNCTION public.a()'),
        ("SELECT public.a(1) FROM public.a JOIN public.b ON public.a(x)",
         'SELECT public.a(1) FROM "sh"."a" JOIN public.b ON public.a(x)'),
        ("CREATE STATISTICS public.i (ndistinct) ON a, b FROM public.a",
         'CREATE STATISTICS "sh"."i" (ndistinct) ON a, b FROM "sh"."a"'),
        ('row_of public.a[], other public."order"', 'row_of "sh"."a"[], other "sh"."order"'),
        ("NULL::public.data", 'NULL::"sh"."data"'),
        ("n text COLLATE public.a", "n text COLLATE public.a"),
        ("-- public.a\nSELECT $f$public.a$f$, 'public.a', 'public.a'::text, other.public.a", None),
        ("SELECT public.b, publica.a, nextval('public.b'::regclass), 'a'::regclass", None),
        ("SELECT 'größe'; SELECT * FROM public.größe", 'SELECT \'größe\'; SELECT * FROM "sh"."größe"'),
    ],
)  # fmt: skip
def test_examples(text: str, wanted: str | None) -> None:
    assert rename(text, MAP) == (text if wanted is None else wanted)


words = st.sampled_from(
    [
        "SELECT",
        "FROM",
        ",",
        "(",
        ")",
        "'it''s public.a'",
        "$$public.a$$",
        "/* public.a */",
        "1",
        "+",
        "alias",
        '"q.q"',
        "public",
    ]
)
names = st.sampled_from(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT $$public.a$$::regclass",
        "SELECT $q$s.t$q$::regclass",
        "SELECT N'public.a'::regclass",
        "SELECT public. N'public.a'::regclass",
        'SELECT public.a"b"',
        '"public"."a"public.a',
    ],
)
def test_a_new_name_never_grows_together_with_what_stands_beside_it(text: str) -> None:
    new = {TableName("public", "a"): TableName("sh", "a\\'"), TableName("s", "t"): TableName("sh", "t")}
    before, after = relations(text), relations(made := rename(text, new))
    assert after == [new.get(name, name) for name in before]
    assert len(tokens(made)) == len(tokens(text)) - (text.count("N'") - text.count(". N'"))
    assert "regclass" not in text or "sh" in made


@given(st.lists(st.tuples(words, names), max_size=12))
def test_every_name_is_renamed_and_nothing_else(parts: list[tuple[str, str]]) -> None:
    text = " ".join(f"{word} , {qualified('public', name)} ;" for word, name in parts)
    wanted = " ".join(f"{word} , {qualified('sh', name)} ;" for word, name in parts)
    assert rename(text, MAP) == wanted
    assert rename(rename(text, MAP), {new: old for old, new in MAP.items()}) == text
    assert rename(text, {}) == text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15))
def test_any_name(name: str) -> None:
    if len(name.encode()) > 63:
        return
    old, new = qualified("s p", name), qualified("sh", name)
    text = f"select nextval({literal(str(old))}::regclass) from {old} as x where {literal(name)} = ''"
    wanted = f"select nextval({literal(str(new))}::regclass) from {new} as x where {literal(name)} = ''"
    made = rename(text, {TableName("s p", name): TableName("sh", name)})
    assert _words(made) == _words(wanted)


def _words(text: str) -> list[str]:
    """Return the tokens: the blank before an E'' string is not one."""
    return [text[token.start : token.end] for token in tokens(text)]


def test_statements_and_the_relation_they_are_about() -> None:
    text = (
        "-- c\nCREATE RULE r AS ON INSERT TO public.a DO (SELECT 1; SELECT ';');\n\nALTER TABLE public.b CLUSTER ON i; "
    )
    found = statements(text)
    assert found == [
        "CREATE RULE r AS ON INSERT TO public.a DO (SELECT 1; SELECT ';')",
        "ALTER TABLE public.b CLUSTER ON i",
    ]
    assert [relations(one)[0] for one in found] == [("public", "a"), ("public", "b")]
    assert statements("") == statements("-- only this") == []


def test_a_text_that_is_torn_is_refused() -> None:
    with pytest.raises(BadSql):
        rename("COMMENT ON TABLE public.a IS 'cut", MAP)


def test_a_text_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into statements, looked at and renamed: with a scan for each, these took most of a load's own CPU."""
    scanned, real = list[str](), tokens

    def scan(text: str) -> list[Token]:
        scanned.append(text)
        return real(text)

    monkeypatch.setattr(renaming, "tokens", scan)
    text = "-- x\nCREATE TABLE public.a (größe int);\n/* y */ COMMENT ON TABLE public.a IS ';' -- z\n;"
    for _ in range(2):
        every = statements(text)
        assert [relations(one) for one in every] == [[("public", "a")]] * 2
        assert [rename(one, MAP) for one in every] == [
            'CREATE TABLE "sh"."a" (größe int)',
            'COMMENT ON TABLE "sh"."a" IS \';\'',
        ]
    assert scanned == [text]


def test_few_texts_are_kept() -> None:
    for number in range(3 * renaming._MOST):
        statements(f"SELECT {number} FROM public.a")
    assert len(renaming._RECENT) <= renaming._MOST
