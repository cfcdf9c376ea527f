"""Data for evaluations: loaders, filtering, splits, candidates, and the frozen file that every system reads."""
