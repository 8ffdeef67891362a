"""Export: merge the adapter, write GGUF, and compare every file with the unquantized model before it counts as done."""
