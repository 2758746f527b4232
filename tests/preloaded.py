"""Run Python scripts in forks of a process that has imported what all need.

Importing torch and the OpenMMLab packages takes longer than most tests of a tool. Each line read is
a request, a JSON object; the answer to it is the exit status. What follows the fork is what Python
does with a script. With ``--fresh`` only other projects' packages are imported before.
"""

import atexit
import gc
import glob
import importlib
import json
import os
import resource
import runpy
import signal
import sys
import threading
import time
from typing import Optional

NAMES = [
    'matplotlib.pyplot',
    'mmengine.runner',
    'mmpretrain.apis',
    'mmpretrain.datasets',
    'mmpretrain.evaluation',
    'mmpretrain.models',
    'sklearn.metrics',
    'torch.distributed.run',
]
if sys.argv[1:] != ['--fresh']:
    NAMES = ['mmrazor_byot.launch', *NAMES, 'mmrazor.models']
for name in NAMES:
    importlib.import_module(name)
gc.freeze()  # what is collected in a fork would be copied for it


def become(
    command: list, cwd: str, env: dict, output: list, timeout: int, file_size: Optional[int]
) -> None:
    """Make this process the one that a command would start."""
    signal.alarm(timeout)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))
    for number, path in enumerate(['/dev/null', *output]):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    sys.path[:1] = [os.path.dirname(command[0]), *env['PYTHONPATH'].split(os.pathsep)]


def wait(children: list, kill: Optional[list]) -> int:
    """The status of the first child that fails, which ends the others; else 0."""
    failure = 0
    if kill:
        pattern, number, ranks = kill
        while not glob.glob(pattern):
            time.sleep(0.01)
        for rank in ranks:
            os.kill(children[rank], number)
    children = set(children)
    while children:
        child, status = os.wait()
        children.remove(child)
        if status and not failure:
            failure = os.waitstatus_to_exitcode(status)
            for other in children:
                os.kill(other, signal.SIGTERM)
    return failure


def serve() -> None:
    """Answer requests; returns in each child, which then runs the script."""
    for line in sys.stdin:
        request = json.loads(line)
        env, kill, children = request.pop('env'), request.pop('kill'), []
        for variables in request.pop('variables'):
            child = os.fork()
            if child == 0:
                become(**request, env={**env, **variables})
                return
            children.append(child)
        print(wait(children, kill), flush=True)
    sys.exit()


def run() -> None:
    """Run the script and end the process, but leave the memory to the system: it saves a second."""
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
        status = 0
    except SystemExit as e:
        status = e.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    threading._shutdown()
    if 'coverage' in sys.modules:  # it writes its data now
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 255)


serve()
run()
