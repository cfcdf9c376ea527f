"""What of the pages may be read: near-duplicates, sentence ends, instruction-like passages, leakage rules."""
