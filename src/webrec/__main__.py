"""`python -m webrec`."""

from __future__ import annotations

from webrec.cli.main import main

if __name__ == "__main__":
    main()
