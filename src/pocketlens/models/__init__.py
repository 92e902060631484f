"""Models: the canonical graph, what may stand in it, where it comes from, how it is stored."""
