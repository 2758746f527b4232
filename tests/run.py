"""Run the public commands as a user does."""

import json
import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / 'configs/distill/mmcls/byot'
DIGITS = RECIPES / 'byot_resnet18_2xb64_digits.py'
PLAIN = RECIPES / 'plain_resnet18_2xb64_digits.py'
#: The digits network that ships with the project.
WEIGHTS = next((RECIPES / 'weights').glob('byot_resnet18_2xb64_digits-*.pth'))

#: A few channels, and a checkpoint of every epoch, for tests of the tools.
NARROW = {
    'model.architecture.backbone.base_channels': 4,
    'model.architecture.backbone.stem_channels': 4,
}
SERVERS = []  # processes of `preloaded`
QUICK = (
    *(f'{key}={value}' for key, value in NARROW.items()),
    'default_hooks.checkpoint.interval=1',
)


def run(*command, cwd=ROOT, timeout=600, **env) -> subprocess.CompletedProcess:
    """Run a command from ``cwd`` with extra environment variables."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment(env),
        timeout=timeout,
        text=True,
        capture_output=True,
    )


def environment(more: dict) -> dict:
    """This process's, with the repository in reach."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    return {
        **os.environ,
        'PYTHONPATH': path,
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        **more,
    }


def default_interrupt() -> None:
    """Let Ctrl-C interrupt a process, which one in the background of a shell ignores."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def free_port() -> str:
    """A port that nothing listens on."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


@cache
def preloaded(*flags) -> subprocess.Popen:
    """The process whose forks run Python scripts, until :func:`end_servers`."""
    server = subprocess.Popen(
        [sys.executable, ROOT / 'tests/preloaded.py', *flags],
        env=environment({}),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    SERVERS.append(server)
    return server


def end_servers() -> None:
    """End the processes of :func:`preloaded`, which write what coverage measured in them."""
    for server in SERVERS:
        server.communicate()


def script(
    path,
    *arguments,
    ranks=None,
    fresh=False,
    cwd=ROOT,
    timeout=600,
    kill=None,
    file_size=None,
    **env,
) -> subprocess.CompletedProcess:
    """Run a Python script as ``run`` does, without the seconds that the imports take.

    Args:
        ranks: Start so many processes of it, with the variables that torchrun sets.
        fresh: Nothing of this project has been imported before.
        kill: ``(path, signal, ranks)``, sent to these ranks as soon as there is a file of that
            pattern.
        file_size: Largest size of a file in bytes.
    """
    command = [str(word) for word in (path, *arguments)]
    variables = [{}]
    if ranks:
        shared = dict(
            WORLD_SIZE=ranks,
            LOCAL_WORLD_SIZE=ranks,
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=free_port(),
        )
        variables = [dict(shared, RANK=rank, LOCAL_RANK=rank) for rank in range(ranks)]
    with TemporaryDirectory() as folder:
        output = [Path(folder) / 'stdout', Path(folder) / 'stderr']
        for file in output:
            file.touch()
        request = dict(
            command=command,
            cwd=str(cwd),
            env=environment(env),
            variables=[{k: str(v) for k, v in own.items()} for own in variables],
            output=[str(file) for file in output],
            timeout=timeout,
            kill=kill and [str(kill[0]), int(kill[1]), list(kill[2])],
            file_size=file_size,
        )
        server = preloaded(*['--fresh'][:fresh])
        print(json.dumps(request), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, status, *(file.read_text() for file in output))


def tool(name: str, *arguments, **settings) -> subprocess.CompletedProcess:
    """Run ``tools/NAME``, a Python one by ``script``; a shell one gets a free port."""
    path = ROOT / 'tools' / name
    if path.suffix == '.sh':
        return run('sh', path, *arguments, **{'PORT': free_port(), **settings})
    return script(path, *arguments, **settings)


def succeeded(done: subprocess.CompletedProcess) -> str:
    """All that a command printed; it must have ended well."""
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-4000:]
    return text


def printed_briefly(text: str) -> str:
    """What a command printed, at most 10 lines besides its tables."""
    assert sum(not line.startswith('|') for line in text.splitlines()) <= 10, text
    return text


def failed(done: subprocess.CompletedProcess) -> str:
    """The one line of an error; the command must have failed by it."""
    assert done.returncode != 0
    lines = [s for s in done.stderr.splitlines() if s.startswith('error: ')]
    assert len(lines) == 1, done.stderr[-4000:]
    return lines[0]


def log(work_dir: Path) -> str:
    """The newest log file of a work dir."""
    return max(work_dir.glob('*/*.log')).read_text()


def exits(work_dir: Path) -> list:
    """The newest ``exits.json`` of a work dir."""
    return json.loads(max(work_dir.glob('*/exits.json')).read_text())
