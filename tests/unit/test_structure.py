"""shadow.structure: what pg_dump writes is sorted, renamed, and what the target keeps is left out."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import TargetError
from runner.shadow import structure

HEAD = (
    "--\n-- PostgreSQL database dump\n--\n\n\\restrict x\nSET transaction_timeout = 0;\n"
    "SET default_table_access_method = heap;\n\n"
)
END = "\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n"


def entry(kind: str, sql: str, name: str = "x") -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: me\n--\n\n{sql}\n\n"


def fact(name: str, **more: Any) -> dict[str, Any]:
    return {"schema": "public", "name": name, "indexes": [], "invalid": [], "sequences": [], "statistics": [], **more}


def sort(*entries: str) -> structure.Structure:
    facts = [fact("a", indexes=["i"], sequences=["s"]), fact("b")]
    return structure.sort_out(HEAD + "".join(entries) + END, facts, "public", "sh")


def test_each_kind_has_its_place() -> None:
    made = sort(
        entry("TABLE", "CREATE TABLE public.a (id int);\n\nALTER TABLE ONLY public.a FORCE ROW LEVEL SECURITY;\n"
              "ALTER TABLE public.a OWNER TO me;\n\nSET default_table_access_method = columnar;"),
        entry("TABLE", "CREATE TABLE public.b (id int);"),
        entry("COMMENT", "COMMENT ON TABLE public.a IS 'public.a';"),
        entry("CONSTRAINT", "ALTER TABLE ONLY public.a ADD CONSTRAINT i PRIMARY KEY (id);\n\n"
              "ALTER TABLE ONLY public.a REPLICA IDENTITY USING INDEX i;\n\nALTER TABLE public.a CLUSTER ON i;"),
        entry("INDEX ATTACH", "ALTER INDEX public.i ATTACH PARTITION public.j;"),
        entry("TRIGGER", "CREATE TRIGGER t BEFORE INSERT ON public.a FOR EACH ROW EXECUTE FUNCTION public.a();\n\n"
              "ALTER TABLE public.a ENABLE ALWAYS TRIGGER t;"),
        entry("RULE", "CREATE RULE r AS ON DELETE TO public.a DO INSTEAD (SELECT 1; SELECT 2);"),
        entry("FK CONSTRAINT", "ALTER TABLE ONLY public.a ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES public.b(id);"),
        entry("COMMENT", "COMMENT ON CONSTRAINT f ON public.a IS 'later';"),
        entry("COMMENT", "COMMENT ON INDEX public.i IS 'now';"),
        entry("POLICY", "CREATE POLICY p ON public.a TO PUBLIC, reader USING (true);"),
        entry("ROW SECURITY", "ALTER TABLE public.a ENABLE ROW LEVEL SECURITY;"),
        entry("ACL", "GRANT SELECT ON TABLE public.a TO reader WITH GRANT OPTION;"),
    )  # fmt: skip
    granted = "GRANT SELECT ON TABLE public.a TO another"
    by_another = f"SET SESSION AUTHORIZATION reader;\n{granted};\nRESET SESSION AUTHORIZATION;"
    assert sort(entry("ACL", by_another)).protection == [("a", granted)]
    assert made.before == [
        "SET default_table_access_method = heap",
        'CREATE TABLE "sh"."a" (id int)',
        "SET default_table_access_method = columnar",
        'CREATE TABLE "sh"."b" (id int)',
        'COMMENT ON TABLE "sh"."a" IS \'public.a\'',
    ]
    assert made.of_table == {
        "a": ['ALTER TABLE ONLY "sh"."a" ADD CONSTRAINT i PRIMARY KEY (id)', 'ALTER TABLE "sh"."a" CLUSTER ON i']
    }
    assert made.attached == ['ALTER INDEX "sh"."i" ATTACH PARTITION public.j']
    assert made.triggers == ['CREATE TRIGGER t BEFORE INSERT ON "sh"."a" FOR EACH ROW EXECUTE FUNCTION public.a()']
    assert made.rules == ['CREATE RULE r AS ON DELETE TO "sh"."a" DO INSTEAD (SELECT 1; SELECT 2)']
    assert list(structure.comments(made, [("a", "f")])) == ['COMMENT ON INDEX "sh"."i" IS \'now\'']
    kept = structure.protection(made, {"a"}, {"me", "reader"})
    assert kept[0] == "ALTER TABLE public.a OWNER TO me"
    assert set(kept[1:]) == {
        "ALTER TABLE ONLY public.a FORCE ROW LEVEL SECURITY",
        "ALTER TABLE ONLY public.a REPLICA IDENTITY USING INDEX i",
        "ALTER TABLE public.a ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON public.a TO PUBLIC, reader USING (true)",
        "GRANT SELECT ON TABLE public.a TO reader WITH GRANT OPTION",
    }
    assert len(structure.protection(made, {"a"}, {"me"})) == 4
    assert structure.protection(made, {"b"}, {"me", "reader"}) == []


def test_the_access_method_stands_where_it_stood() -> None:
    made = sort(
        entry("TABLE", "CREATE TABLE public.a (id int);\n\n\nSET default_table_access_method = columnar;"),
        entry("TABLE", "CREATE TABLE public.b (id int);"),
    )
    words = [one.split(" (")[0] for one in made.before]
    heap, columnar = (f"SET default_table_access_method = {name}" for name in ("heap", "columnar"))
    assert words == [heap, 'CREATE TABLE "sh"."a"', columnar, 'CREATE TABLE "sh"."b"']


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TargetError, match="EVENT TRIGGER"):
        sort(entry("EVENT TRIGGER", "CREATE EVENT TRIGGER x ON public.a;"))


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("GRANT SELECT(id),INSERT ON TABLE public.a TO bob WITH GRANT OPTION", {"bob"}),
        ('REVOKE ALL ON TABLE public.a FROM "O""Neil"', {'O"Neil'}),
        (
            "CREATE POLICY p ON public.a AS RESTRICTIVE FOR SELECT TO a, \"B c\" USING ((x = ' TO y'::text))",
            {"a", "B c"},
        ),
        ("CREATE POLICY p ON public.a USING (true)", set()),
        ("GRANT ALL ON TABLE public.a TO PUBLIC", set()),
        ("ALTER TABLE public.a OWNER TO me", {"me"}),
        ("ALTER TABLE public.a ENABLE ROW LEVEL SECURITY", set()),
    ],
)
def test_the_roles_of_a_statement(text: str, roles: set[str]) -> None:
    assert structure.roles_of(text) == roles


def test_differences_are_told_by_name() -> None:
    def row(text: str, part: str = "c") -> dict[str, str]:
        return {"name": "a", "what": "column", "part": part, "text": text}

    def differences(source: list[dict[str, str]], target: list[dict[str, str]]) -> list[str]:
        return structure.differences(structure.unlike(source, target), source, target)

    same = row("x", "d")
    assert differences([row("int"), same], [row("text"), same]) == ["column c of a: int in the source, text here"]
    assert differences([row("int")], []) == ["column c of a: int in the source, not there here"]
