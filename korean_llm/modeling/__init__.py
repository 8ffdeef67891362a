"""Models: where the base comes from, what trains in it, how much memory it takes."""
