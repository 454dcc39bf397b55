"""A page type and a snippet as Wagtail's tutorial has them, with what Django's own pages teach about constraints."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey
from taggit.models import TaggedItemBase
from wagtail.blocks import CharBlock, RichTextBlock
from wagtail.fields import RichTextField, StreamField
from wagtail.models import Orderable, Page
from wagtail.snippets.models import register_snippet


class Status(models.TextChoices):
    DRAFT = "draft"
    LIVE = "live"
    GONE = "gone"


@register_snippet
class Author(models.Model):
    name = models.CharField(max_length=255)
    email = models.EmailField(unique=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.DRAFT)
    rating = models.DecimalField(max_digits=4, decimal_places=2, default=0)
    languages = ArrayField(models.CharField(max_length=5), default=list)
    shown = models.GeneratedField(
        expression=Lower("name"), output_field=models.CharField(max_length=255), db_persist=True
    )
    extra = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=["draft", "live", "gone"]), name="author_status"),
            models.CheckConstraint(condition=Q(rating__gte=0) & Q(rating__lte=10), name="author_rating"),
            models.UniqueConstraint(Lower("email"), name="author_email_lower"),
            models.UniqueConstraint(fields=["name"], condition=~Q(status="gone"), name="author_name_live"),
        ]
        indexes = [
            models.Index(fields=["name"], condition=Q(status__in=["draft", "live"]), name="author_name_part"),
            GinIndex(fields=["extra"], name="author_extra"),
        ]


class BlogTag(TaggedItemBase):
    content_object = ParentalKey("BlogPage", related_name="tagged_items", on_delete=models.CASCADE)


class BlogPage(Page):
    date = models.DateField()
    author = models.ForeignKey(Author, null=True, on_delete=models.SET_NULL)
    intro = RichTextField(blank=True)
    body = StreamField([("heading", CharBlock()), ("text", RichTextBlock())])
    tags = ClusterTaggableManager(through=BlogTag, blank=True)


class Link(Orderable):
    page = ParentalKey(BlogPage, related_name="links", on_delete=models.CASCADE)
    url = models.URLField(blank=True)


class Booking(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE)
    during = DateTimeRangeField()
    cancelled = models.BooleanField(default=False)
    after = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT)

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="booking_overlap",
                expressions=[("during", RangeOperators.OVERLAPS), ("author", RangeOperators.EQUAL)],
                condition=Q(cancelled=False),
            ),
            models.CheckConstraint(condition=~Q(after=F("id")), name="booking_not_itself"),
        ]
