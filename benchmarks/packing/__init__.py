"""The parts of benchmarks/pack.py."""
