"""`python -m wa_supervisor` is the `wa-supervisor` command."""

from __future__ import annotations

from wa_supervisor.cli import main

if __name__ == "__main__":
    main()
