"""Rows through the ORM; run by make.sh after `alembic upgrade head`."""

import datetime
import decimal

from models import Invoice, Level, Person, Team
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

with Session(create_engine("postgresql+psycopg://")) as session:
    teams = [Team(title=f"Team {n}", tags=["a", "b"][: n % 3]) for n in range(5)]
    session.add_all(teams)
    session.flush()
    boss = None
    for n in range(40):
        person = Person(
            name=f"Jürgen O'Hara {n}", role=["user", "admin", "Guest's"][n % 3], level=list(Level)[n % 2],
            email=f"p{n}@example.org", born=datetime.date(1950 + n, 1, 1), teams=teams[: n % 4],
        )  # fmt: skip
        session.add(person)
        session.flush()
        boss = boss or person
        person.manager_id = boss.id
    for n, team in enumerate(teams):
        state = ["open", "paid", "void"][n % 3]
        session.add(
            Invoice(team_id=team.id, amount=decimal.Decimal("10.50") * (n + 1), state=state, body={"note": "two words"})
        )
    session.commit()
