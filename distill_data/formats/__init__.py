"""The shapes that trainers read. Knows nothing about how a row came to be."""

from distill_data.formats.contracts import CONTRACTS, TRAINERS, faults
from distill_data.formats.records import COLUMNS, Source, make_record, make_row

__all__ = ["COLUMNS", "CONTRACTS", "TRAINERS", "Source", "faults", "make_record", "make_row"]
