"""The self-contained HTML report: what the model wrote, searched, read and ranked, on one page (see `html`)."""
