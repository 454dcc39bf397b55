#!/usr/bin/env bash
# Makes schema.sql and rows.sql with an Alembic migration made from the models, and the ORM.
source "$(dirname "$0")/../recording.sh"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet SQLAlchemy==2.1.9 alembic==1.20.1 'psycopg[binary]==3.3.9'
cp "$ordinary"/sqlalchemy/*.py "$work"
cd "$work"
export PYTHONPATH="$work"
begin
venv/bin/alembic init migrations >/dev/null
sed -i.old 's|^sqlalchemy.url.*|sqlalchemy.url = postgresql+psycopg://|' alembic.ini
sed -i.old 's|^target_metadata = None|from models import Base\ntarget_metadata = Base.metadata|' migrations/env.py
venv/bin/alembic revision --autogenerate -m first >/dev/null 2>&1
venv/bin/alembic upgrade head 2>/dev/null
venv/bin/python rows.py
finish "$ordinary/sqlalchemy"
