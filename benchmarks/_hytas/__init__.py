"""Parts of benchmarks/hytas_tables.py."""
