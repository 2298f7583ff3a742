"""The command of a cold process that knows the small studies of tests, with what is planted in its code."""

import sys
from pathlib import Path

from trademl_pipeline.lake import kernel_seal

TESTS = str(Path(__file__).parent)
# As `lake.kernel_seal` starts one, with the tests' code to read.
START = """
import json, runpy, sys
from pathlib import Path
folder, module, job = sys.argv[1:]
{before}
sealing = runpy.run_path({seal!r})
sealing["pin_package"]({tests!r})
Path(folder, sealing["SEALED"]).write_text(json.dumps(sealing["seal_process"](folder, [{tests!r}])))
from trademl_pipeline import studies
from trademl_pipeline_tests import small
studies.STUDIES.update({studies})
{plant}
sys.argv = [module, job]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def cold_start(studies: str, plant: str = "", before: str = "") -> tuple[str, ...]:
    """Return the command.

    Args:
        studies: expression of the studies by name that it knows instead of the declared ones; `small` is at hand.
        plant: code that runs under the seal, before the step is loaded.
        before: code that runs before the seal.
    """
    code = START.format(seal=kernel_seal.__file__, tests=TESTS, plant=plant, before=before, studies=studies)
    return sys.executable, "-c", code
