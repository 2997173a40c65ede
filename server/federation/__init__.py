"""The federation that phases are written against: dispatch, aggregation, transfers."""
