"""A small loop that searches again, opens documents and calculates before it answers."""
