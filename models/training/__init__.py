"""Training of adapters: one loop, with checkpoints it resumes from, on one process or several."""
