"""Answers kept for the same question, and the gate that tells the same question from its opposite."""
