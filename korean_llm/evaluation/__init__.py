"""Evaluation: measure every model of a run on the same text and write the report. Reads artifacts only."""
