"""Every tool on a full disk: one line that names the file, and older files stay."""

import re

import pytest
from run import DIGITS, QUICK, ROOT, WEIGHTS, failed, tool

NET = DIGITS, WEIGHTS
PLOTS = ROOT / 'projects/paper_discussion'
#: Tool, arguments, what it writes. FOLDER is on the disk.
TOOLS = [
    ('train.py', [DIGITS, '--work-dir', 'FOLDER/w'], 'w'),
    ('test.py', [*NET, '--work-dir', 'FOLDER/w'], 'w'),
    ('test.py', [*NET, '--work-dir', 'ELSEWHERE', '--out', 'FOLDER/p.pkl'], 'p.pkl'),
    ('test.py', [*NET, '--work-dir', 'ELSEWHERE', '--show-dir', 'FOLDER/s'], 's'),
    ('calibrate_exits.py', [*NET, '--max-drop', '1', '--out', 'FOLDER/p.json'], 'p.json'),
    ('get_flops.py', [DIGITS, '--out', 'FOLDER/f.json'], 'f.json'),
    ('infer.py', ['a.png', '--model', DIGITS, '--out', 'FOLDER/r.json'], 'r.json'),
    ('infer.py', ['a.png', '--model', DIGITS, '--show-dir', 'FOLDER/s'], 's'),
    ('make_tables.py', ['--table', 'FOLDER/t.md'], 't.md'),
    ('deploy/export_onnx.py', [*NET, '--out', 'FOLDER/m.onnx'], 'm.onnx'),
    ('deploy/bench.py', ['m.onnx', '--out', 'FOLDER/b.json'], 'b.json'),
    ('model_converters/export_student.py', [*NET, '--out', 'FOLDER/e'], 'e'),
    ('analysis_tools/plot_exits.py', [*NET, '--out', 'FOLDER/a'], 'a'),
    (PLOTS / 'plot_flatness.py', ['--model', *NET, '--out', 'FOLDER/a'], 'a'),
    (PLOTS / 'plot_gradients.py', ['--model', *NET, '--out', 'FOLDER/a'], 'a'),
    (PLOTS / 'plot_separability.py', [*NET, '--out', 'FOLDER/a'], 'a'),
]
ZOO = 'model_zoo.py', ['download', 'byot_resnet18_2xb64_digits', '--dest', 'FOLDER'], WEIGHTS.name
PUBLISH = 'model_converters/publish_model.py', [WEIGHTS, '--out', 'FOLDER', '--name', 'n'], 'n-'


def put(arguments, folder, elsewhere) -> list:
    names = dict(FOLDER=folder, ELSEWHERE=elsewhere)
    return [re.sub('FOLDER|ELSEWHERE', lambda m: str(names[m[0]]), str(word)) for word in arguments]


def files(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('name, arguments, file', [*TOOLS, ZOO, PUBLISH])
def test_a_disk_that_is_full_before_the_work(disk, tmp_path, name, arguments, file):
    folder, limit = disk(0)
    if limit:
        pytest.skip('no disk can be mounted here')
    (folder / file).touch()  # an older one, as far as it is a file
    if file in ('w', 's', 'e', 'a'):
        (folder / file).unlink()
    before = files(folder)
    done = tool(name, *put(arguments, folder, tmp_path / 'elsewhere'))
    line = failed(done)
    assert line.startswith(f'error: cannot write "{folder}/{file}') and 'No space left' in line
    assert done.stdout == '' and len(done.stderr.splitlines()) == 1
    assert files(folder) == before


@pytest.mark.parametrize('name, arguments, file', [TOOLS[0], TOOLS[2], TOOLS[4], ZOO, PUBLISH])
def test_a_file_in_the_way(tmp_path, name, arguments, file):
    (tmp_path / 'file').write_text('mine')
    done = tool(name, *put(arguments, tmp_path / 'file', tmp_path / 'elsewhere'))
    line = failed(done)
    assert line.startswith(f'error: cannot write "{tmp_path}/file/{file}')
    assert '"' + str(tmp_path / 'file') + '" is not a folder' in line
    assert (tmp_path / 'file').read_text() == 'mine'


#: With so many bytes free, the work is done, or a part of it, before the disk is full.
PART = [
    (*TOOLS[2], 40_000, 'p.pkl'),
    (*TOOLS[11], 40_000, r'e/byot_resnet18_2xb64_digits_exit4-\w{8}\.pth'),
    (*ZOO, 40_000, re.escape(ZOO[2])),
    (*PUBLISH, 40_000, r'n-\w{8}\.pth'),
    pytest.param(*TOOLS[9], 40_000, 'm.onnx', marks=pytest.mark.slow),
    pytest.param(*TOOLS[12], 40_000, r'a/\w+\.\w+', marks=pytest.mark.slow),
]


@pytest.mark.parametrize('name, arguments, start, free, file', PART)
def test_a_disk_that_becomes_full(disk, tmp_path, name, arguments, start, free, file):
    folder, limit = disk(free)
    done = tool(name, *put(arguments, folder, tmp_path / 'elsewhere'), **limit)
    line = failed(done)
    assert re.match(f'error: cannot write "{folder}/{file}": (No space left|File too large)', line)
    assert 'Traceback' not in done.stderr
    assert [name for name in files(folder) if 'tmp' in name] == []


@pytest.mark.parametrize(
    'free, file',
    [(700_000, r'epoch_2\.pth'), (8192, r'\w+/(vis_data/)?\w+\.(py|log|json)')],
    ids=['checkpoint', 'log'],
)
def test_training_until_a_disk_is_full(disk, tmp_path, free, file):
    """The checkpoints of before are whole."""
    folder, limit = disk(free)
    options = *QUICK, 'train_dataloader.dataset.indices=64', 'default_hooks.logger.interval=1'
    words = DIGITS, '--work-dir', folder, '--no-validate', '--cfg-options', *options
    done = tool('train.py', *words, **limit)
    line = failed(done)
    assert re.match(f'error: cannot write "{folder}/{file}": (No space left|File too large)', line)
    assert 'Traceback' not in done.stderr and 'Logging error' not in done.stderr
    assert [name for name in files(folder) if 'tmp' in name] == []
