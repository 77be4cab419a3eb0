"""The shapes that trainers read. Knows nothing about how a row came to be."""

from distill_data.formats.records import Source, make_record

__all__ = ["Source", "make_record"]
