"""Schemes for hardware that is not here: what its maker documents, as data, and a check that a file obeys."""
