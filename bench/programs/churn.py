"""Dicts and objects: a store of small records, looked up, changed, replaced and dropped; trees that come and go."""

import random
import sys

from slices import turns

random.seed(1)


class Slotted:
    __slots__ = ("key", "value", "left", "right")

    def __init__(self, key, value, left=None, right=None):
        self.key, self.value, self.left, self.right = key, value, left, right


class Open:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def tree(depth):
    return Slotted(depth, (depth, str(depth)), tree(depth - 1), tree(depth - 1)) if depth else None


def weight(node):
    return node.key + weight(node.left) + weight(node.right) if node else 0


store = {}
total = 0
for step in turns(int(sys.argv[1])):
    key = random.randrange(60_000)
    old = store.pop(key, None)
    if old is not None:
        total += len(old.items)
    store[key] = Open(
        key=key,
        name=f"record {step}",
        items=[step + i for i in range(step % 23)],
        index={f"k{i}": (i, step) for i in range(step % 9)},
    )
    if step % 800 == 0:
        total += weight(tree(11))
    if step % 20_000 == 0:
        store = {key: value for key, value in store.items() if key % 3}
print(total, len(store))
