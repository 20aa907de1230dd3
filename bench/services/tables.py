"""FastAPI with pandas: each request groups and joins a table of 400,000 rows."""

import io

import numpy
import pandas

from served import serve

ROWS = 400_000
random = numpy.random.default_rng(1)
keys = pandas.DataFrame({"key": range(500), "weight": random.random(500)})


def report() -> str:
    names = [f"n{i % 97}" for i in range(ROWS)]
    frame = pandas.DataFrame({"key": random.integers(0, 500, ROWS), "value": random.random(ROWS), "name": names})
    grouped = frame.merge(keys, on="key").groupby(["key", "name"], as_index=False)["value"].mean()
    out = io.StringIO()
    grouped.sort_values("value").head(200).to_csv(out)
    return out.getvalue()


serve(report)
