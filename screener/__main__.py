"""`python -m screener` is the console script."""

from __future__ import annotations

from screener.cli import main

if __name__ == "__main__":
    main()
