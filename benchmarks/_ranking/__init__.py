"""Parts of ``supernet_ranking.py``."""
