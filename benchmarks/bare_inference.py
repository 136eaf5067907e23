"""The barest script that does what edge-infer does: what its speed is measured against.

    python benchmarks/bare_inference.py MODEL.tflite IMAGE...

Decode (a large JPEG reduced, as edge-infer does), grey, fit into a black square, int8, invoke, print. No checks, no
hash, no orientation, no transparency, no 16 bits, no errors.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
(given,), (answer, *_) = interpreter.get_input_details(), interpreter.get_output_details()
side, (scale, zero_point) = int(given["shape"][1]), answer["quantization"]
for path in sys.argv[2:]:
    image = Image.open(path)
    image.draft("L", (side, side))
    image = image.convert("L")
    width, height = image.size
    longer = max(width, height)
    image = image.resize((round(width * side / longer), round(height * side / longer)), Image.Resampling.BILINEAR)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - image.height) // 2, (side - image.width) // 2
    square[top : top + image.height, left : left + image.width] = np.asarray(image)
    interpreter.set_tensor(given["index"], (square.astype(np.int16) - 128).astype(np.int8).reshape(1, side, side, 1))
    interpreter.invoke()
    stored = interpreter.get_tensor(answer["index"]).item()
    print(f"{(stored - zero_point) * scale:.3f}  {path}", flush=True)
