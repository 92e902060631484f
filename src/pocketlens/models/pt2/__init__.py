"""Exported programs (`.pt2`) as canonical graphs, read without unpickling or evaluating anything in the file."""
