"""numpy: matrices of changing sizes, as a model's inference has them; it ends by itself."""

import numpy

random = numpy.random.default_rng(1)
kept = []
total = 0.0
for step in range(400):
    rows = int(random.integers(50, 1200))
    matrix = random.random((rows, 700))
    total += float((matrix @ matrix[:50].T).sum())
    kept.append(matrix[:, :3].copy())
    if len(kept) > 40:
        kept.pop(0)
print(round(total))
