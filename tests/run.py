"""Run the public commands as a user does."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / 'configs/distill/mmcls/byot'
DIGITS = RECIPES / 'byot_resnet18_2xb64_digits.py'

#: A few channels and epochs of the digits recipe, for tests of the tools.
QUICK = (
    'model.architecture.backbone.base_channels=4',
    'model.architecture.backbone.stem_channels=4',
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


@cache
def preloaded() -> subprocess.Popen:
    """The process whose forks run the tools; it ends with this one."""
    return subprocess.Popen(
        [sys.executable, ROOT / 'tests/preloaded.py'],
        env=environment({}),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def tool(name: str, *arguments, cwd=ROOT, timeout=600, **env) -> subprocess.CompletedProcess:
    """Run ``tools/NAME`` as ``run`` does; Python ones without the imports."""
    script = ROOT / 'tools' / name
    if script.suffix == '.sh':
        return run('sh', script, *arguments, cwd=cwd, timeout=timeout, **env)
    command = [str(word) for word in (script, *arguments)]
    with TemporaryDirectory() as folder:
        output = [Path(folder) / 'stdout', Path(folder) / 'stderr']
        for file in output:
            file.touch()
        request = dict(
            command=command,
            cwd=str(cwd),
            env=environment(env),
            output=[str(file) for file in output],
            timeout=timeout,
        )
        server = preloaded()
        print(json.dumps(request), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, status, *(file.read_text() for file in output))


def succeeded(done: subprocess.CompletedProcess) -> str:
    """All that a command printed; it must have ended well."""
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-4000:]
    return text


def failed(done: subprocess.CompletedProcess) -> str:
    """The one line of an error; the command must have failed by it."""
    assert done.returncode != 0
    lines = [s for s in done.stderr.splitlines() if s.startswith('error: ')]
    assert len(lines) == 1, done.stderr[-4000:]
    return lines[0]


def exits(work_dir: Path) -> list:
    """The newest ``exits.json`` of a work dir."""
    return json.loads(max(work_dir.glob('*/exits.json')).read_text())
