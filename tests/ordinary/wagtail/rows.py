"""Rows as an editor and visitors make them; run by make.sh after `migrate`."""

import datetime

import django

django.setup()

from allauth.account.models import EmailAddress  # noqa: E402
from blog.models import Author, BlogPage, Booking, Link  # noqa: E402
from django.contrib.auth.models import Group, User  # noqa: E402
from wagtail.models import Page  # noqa: E402

home = Page.objects.get(slug="home")
editors = Group.objects.get(name="Editors")
noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
for number in range(12):
    user = User(username=f"user{number}", email=f"User{number}@Example.org", password="!")
    user.save()
    user.groups.add(editors)
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=number % 2 == 0)
    author = Author.objects.create(
        name=f"Zoë O'Brien {number}",
        email=f"a{number}@example.org",
        status=["draft", "live", "gone"][number % 3],
        rating=number / 2,
        languages=["de", "en"][: number % 3],
        extra={"n": number, "quote": '"\\'},
    )
    Booking.objects.create(author=author, during=(noon, noon + datetime.timedelta(hours=number + 1)))
    page = BlogPage(
        title=f"Post {number}", slug=f"post-{number}", date=noon.date(), author=author, body=[("heading", "Hello")]
    )
    home.add_child(instance=page)
    page.tags.add("red", f"tag{number % 4}")
    page.save_revision(user=user).publish()
    Link.objects.create(page=page, url=f"https://example.org/{number}", sort_order=number)
