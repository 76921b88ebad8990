"""One thread per test process: several processes with several threads each wait for one another most of the time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for the processes that tests start
