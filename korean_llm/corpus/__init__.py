"""Text to learn from: read, clean, deduplicate, mask personal data, hold out, mix."""
