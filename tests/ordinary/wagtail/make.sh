#!/usr/bin/env bash
# Makes schema.sql and rows.sql with Django's migrations and the ORM.
source "$(dirname "$0")/../recording.sh"
cd "$ordinary/wagtail"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet Django==5.2.19 wagtail==8.0.1 django-allauth==65.21.1 'psycopg[binary]==3.3.9' \
    qrcode==8.2 fido2==2.0.0
mkdir "$work/site"
cp -R settings.py site_urls.py blog "$work/site"
export DJANGO_SETTINGS_MODULE=settings PYTHONPATH="$work/site"
begin
psql -qXc 'create extension btree_gist'
"$work/venv/bin/django-admin" makemigrations blog --verbosity 0
"$work/venv/bin/django-admin" migrate --verbosity 0
"$work/venv/bin/python" rows.py
finish .
