"""What SQLAlchemy's pages teach: enums of both kinds, constraints of every kind, computed and identity columns."""

import datetime
import decimal
import enum
import uuid

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    Computed,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    String,
    Table,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB, TSVECTOR, UUID, ExcludeConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Level(enum.Enum):
    low = 1
    high = 2


membership = Table(
    "membership",
    Base.metadata,
    Column("person_id", ForeignKey("person.id", ondelete="CASCADE"), primary_key=True),
    Column("team_id", ForeignKey("team.id"), primary_key=True),
)


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    role: Mapped[str] = mapped_column(
        Enum("user", "admin", "Guest's", native_enum=False, create_constraint=True, name="person_role")
    )
    level: Mapped[Level] = mapped_column(Enum(Level), server_default="low")
    manager_id: Mapped[int | None] = mapped_column(ForeignKey("person.id", deferrable=True, initially="DEFERRED"))
    made: Mapped[datetime.datetime] = mapped_column(server_default=func.now())
    born: Mapped[datetime.date | None]
    email: Mapped[str] = mapped_column(String(120), unique=True)
    upper_name: Mapped[str] = mapped_column(String(50), Computed("upper(name)", persisted=True))
    teams: Mapped[list["Team"]] = relationship(secondary=membership)
    __table_args__ = (
        CheckConstraint("email LIKE '%@%' AND length(name) BETWEEN 1 AND 50", name="email_has_at"),
        CheckConstraint("born IS NULL OR born >= '1900-01-01'", name="born_since"),
        Index("person_name_lower", func.lower(text("name")), postgresql_where=text("role IN ('user', 'admin')")),
        {"comment": "Who works here"},
    )


class Team(Base):
    __tablename__ = "team"
    id: Mapped[int] = mapped_column(Identity(always=True, start=100), primary_key=True)
    title: Mapped[str] = mapped_column(String(80), comment="as it is spoken")
    tags: Mapped[list[str]] = mapped_column(ARRAY(String(20)), server_default="{}")
    __table_args__ = (UniqueConstraint("title", name="uq_team_title"),)


class Invoice(Base):
    __tablename__ = "Invoice"
    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True, server_default=text("gen_random_uuid()"))
    team_id: Mapped[int] = mapped_column("TeamId", ForeignKey("team.id"))
    amount: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2))
    tax: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2), Computed("amount * 0.19"))
    state: Mapped[str] = mapped_column(String(9), server_default=text("'open'"))
    due: Mapped[datetime.timedelta] = mapped_column(INTERVAL, server_default=text("'14 days'"))
    body: Mapped[dict[str, object]] = mapped_column(JSONB, server_default=text("'{}'"))
    words: Mapped[str | None] = mapped_column(TSVECTOR, Computed("to_tsvector('english', body ->> 'note')"))
    __table_args__ = (
        CheckConstraint("state IN ('open', 'paid', 'void')", name="state_word"),
        CheckConstraint("amount > 0 AND amount <> -1", name="amount_positive"),
        ExcludeConstraint(
            ("TeamId", "="), ("state", "="), using="btree", where=text("state = 'open'"), name="one_open"
        ),
        Index("invoice_words", "words", postgresql_using="gin"),
        Index("invoice_state", "state", postgresql_include=["amount"], postgresql_where=text("state <> 'void'")),
    )
