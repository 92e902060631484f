"""Search: recipes that are found by measuring files, rather than given."""
