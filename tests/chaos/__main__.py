"""`python -m tests.chaos [--rounds 20] [--only WORD]`: every fault at full length, with what it took."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos.campaign import CannotHappenHere, run
from tests.chaos.faults import SCENARIOS
from tests.chaos.world import World


def main() -> int:
    """Exit status 1 where a scenario failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="scenarios that hold it")
    parser.add_argument("--lease", type=int, default=15)
    parser.add_argument("--outage", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where the logs of a failed scenario go")
    options = parser.parse_args()
    names = [name for name in SCENARIOS if not options.only or any(word in name for word in options.only)]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="chaos") as place:
        todo = iter(names)
        name = next(todo, None)
        while name is not None:  # a scenario that failed leaves no world to go on with
            directory = Path(place) / "world"
            with World(directory, seed=options.seed, lease_s=options.lease, outage_s=options.outage) as world:
                while name is not None:
                    try:
                        print(run(world, name, options.rounds), flush=True)
                    except CannotHappenHere as error:
                        print(f"{name:26} cannot happen here: {error}", flush=True)
                    except Exception:
                        failed += 1
                        print(f"{name:26} FAILED\n{traceback.format_exc()}", flush=True)
                        if options.keep:
                            shutil.copytree(
                                directory, options.keep / name.replace(" ", "-"), dirs_exist_ok=True
                            )
                        name = next(todo, None)
                        break
                    name = next(todo, None)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
