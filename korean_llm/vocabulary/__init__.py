"""New Korean tokens for a base model: learn, extend tokenizer and rows, prove that old text is untouched, report."""
