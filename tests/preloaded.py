"""Run Python scripts in forks of a process that has imported what all need.

Importing torch and the OpenMMLab packages takes longer than most tests of a tool. Each line read is
a request, a JSON object; the answer to it is the exit status. What follows the fork is what Python
does with a script.
"""

import importlib
import json
import os
import runpy
import signal
import sys

for name in (
    'mmrazor_byot.launch',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'mmrazor.models',
    'matplotlib.pyplot',
):
    importlib.import_module(name)


def become(command: list, cwd: str, env: dict, output: list, timeout: int) -> None:
    """Make this process the one that a command would start."""
    signal.alarm(timeout)
    for number, path in enumerate(['/dev/null', *output]):
        file = os.open(path, os.O_RDWR)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    sys.path[:1] = [os.path.dirname(command[0]), *env['PYTHONPATH'].split(os.pathsep)]


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        become(**json.loads(line))
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
runpy.run_path(sys.argv[0], run_name='__main__')
