"""Run Python scripts in forks of a process that has imported what all need.

Importing torch and the OpenMMLab packages takes longer than most tests of a tool. Each line read is
a request, a JSON object; the answer to it is the exit status. What follows the fork is what Python
does with a script. With ``--fresh`` only other projects' packages are imported before.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import threading

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


def become(command: list, cwd: str, env: dict, output: list, timeout: int) -> None:
    """Make this process the one that a command would start."""
    signal.alarm(timeout)
    for number, path in enumerate(['/dev/null', *output]):
        file = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = command
    sys.path[:1] = [os.path.dirname(command[0]), *env['PYTHONPATH'].split(os.pathsep)]


def wait(children: set) -> int:
    """The status of the first child that fails, which ends the others; else 0."""
    failure = 0
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
        env, children = request.pop('env'), set()
        for variables in request.pop('variables'):
            child = os.fork()
            if child == 0:
                become(**request, env={**env, **variables})
                return
            children.add(child)
        print(wait(children), flush=True)
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
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 255)


serve()
run()
