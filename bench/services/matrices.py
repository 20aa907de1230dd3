"""FastAPI with numpy: each request multiplies and sorts matrices of several sizes, as a model's inference does."""

import numpy

from served import serve

random = numpy.random.default_rng(1)
weights = random.random((1200, 1200))


def report() -> str:
    batches = [random.random((rows, 1200)) for rows in (300, 700, 1100, 1500)]
    products = [batch @ weights for batch in batches]
    return str(sum(float(numpy.sort(product, axis=None)[::1000].sum()) for product in products))


serve(report)
