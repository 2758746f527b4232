"""Run the public commands as a user does."""
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / 'configs/distill/mmcls/byot'
DIGITS = RECIPES / 'byot_resnet18_2xb64_digits.py'

#: A few channels and epochs of the digits recipe, for tests of the tools.
QUICK = ('model.architecture.backbone.base_channels=4',
         'model.architecture.backbone.stem_channels=4',
         'default_hooks.checkpoint.interval=1')


def run(*command, cwd=ROOT, timeout=600, **env) -> subprocess.CompletedProcess:
    """Run a command from ``cwd`` with extra environment variables."""
    path = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    variables = {
        **os.environ, 'PYTHONPATH': path,
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        **env
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=variables,
        timeout=timeout,
        text=True,
        capture_output=True)


def tool(name: str, *arguments, **settings) -> subprocess.CompletedProcess:
    """Run ``tools/NAME`` with this Python, or with sh."""
    shell = ['sh'] if name.endswith('.sh') else [sys.executable]
    return run(*shell, ROOT / 'tools' / name, *arguments, **settings)


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
