"""``python -m sb3_dqn_ext`` is the ``sb3-dqn`` command."""

import sys

from sb3_dqn_ext.cli import main

sys.exit(main())
