"""Asking a provider well: retries, limits and spending across processes, recorded answers."""
