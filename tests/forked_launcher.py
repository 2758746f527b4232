"""tools/dist_run.py, but its processes are forks of this one, which has imported what they need."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

POPEN = subprocess.Popen


class Fork:
    """What the launcher uses of ``subprocess.Popen``."""

    def __init__(self, command, env, pass_fds, preexec_fn):
        self.returncode = None
        self.pid = os.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            preexec_fn()
            subprocess.Popen = POPEN
            os.environ.update(env)
            sys.argv = command[1:]
            status = 1
            try:
                runpy.run_path(sys.argv[0], run_name='__main__')
                status = 0
            except SystemExit as e:
                status = e.code or 0
            finally:
                sys.stdout.flush()
                os._exit(status)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def terminate(self):
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


subprocess.Popen = Fork
sys.argv[0] = str(Path(__file__).parents[1] / 'tools/dist_run.py')
runpy.run_path(sys.argv[0], run_name='__main__')
