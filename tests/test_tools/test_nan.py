"""A network that answers with NaN: one line names the exit, whatever the tool."""

import pytest
import torch
from run import DIGITS, WEIGHTS, failed, tool

FOLLOW = 'policy.json'
COMMANDS = {
    'test.py': [],
    'test.py with a policy': ['--policy', FOLLOW],
    'calibrate_exits.py': ['--max-drop', '1', '--out', 'p.json'],
    'deploy/export_onnx.py': ['--out', 'a.onnx', '--no-data'],
    'model_converters/export_student.py': ['--out', 'out', '--exit', '2'],
    'infer.py': ['--out', 'o.json', '--policy', FOLLOW, '--model', DIGITS, '--weights', 'nan.pth'],
}


@pytest.mark.parametrize('name', COMMANDS)
def test_it_is_one_line(tmp_path, name):
    state = torch.load(WEIGHTS, weights_only=True)
    # Finite weights, of which the sum is not.
    state['state_dict']['exit_heads.1.fc.weight'].fill_(3e38)
    torch.save(state, tmp_path / 'nan.pth')
    (tmp_path / FOLLOW).write_text(
        '{"format": "mmrazor_byot exit policy 1", "num_exits": 4, "num_classes": 10, '
        '"policy": {"type": "ConfidencePolicy", "thresholds": [1.0, 0.5, 0.5]}}'
    )
    first = [DIGITS, 'nan.pth']
    if name == 'infer.py':
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((32, 32, 3), np.uint8))
        first = ['a.png']
    before = sorted(tmp_path.iterdir())
    done = tool(name.split()[0], *first, *COMMANDS[name], cwd=tmp_path)
    assert 'exit 2 answers with NaN or infinity for ' in failed(done)
    assert [p for p in tmp_path.iterdir() if p not in before and p.name != 'work_dirs'] == []
