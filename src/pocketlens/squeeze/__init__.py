"""Squeeze: run one recipe on one model, measure the files, write bundle and report."""
