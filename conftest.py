"""What the processes of all tests take over, set before any test loads a library.

Tests start hundreds of processes beside each other on few cores.
"""

import os
import sys

os.environ["OMP_WAIT_POLICY"] = "passive"  # threads of torch that wait for each other leave the core to others
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # modules are compiled once, not by each process
sys.dont_write_bytecode = False
