"""`python -m workers`: a worker with the settings of the environment. `taskpost worker` runs this."""

from __future__ import annotations

import sys

from service.errors import InvalidSetting
from service.settings import Settings
from workers.parent import run

if __name__ == "__main__":
    try:
        sys.exit(run(Settings.from_env()))
    except InvalidSetting as exc:
        sys.exit(f"taskpost worker: {exc}")
