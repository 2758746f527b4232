"""Classify an image with an exported network: prints the class, its score and the exit.

pip install onnxruntime numpy pillow python run.py model.onnx image.png [THRESHOLD ...]
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

model, path, *thresholds = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
about = session.get_modelmeta().custom_metadata_map
height, width = json.loads(about['input_size'])
image = Image.open(path).convert('RGB').resize((width, height))
feed = {'image': np.asarray(image)[None]}
if len(session.get_inputs()) == 2:
    feed['thresholds'] = np.array(thresholds or json.loads(about['thresholds']), np.float32)
scores, exits = session.run(['scores', 'exits'], feed)
label = scores[0].argmax()
print(json.loads(about['classes'])[label], f'{scores[0, label]:.6f}', exits[0])
