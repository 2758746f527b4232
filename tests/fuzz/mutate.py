"""Make inputs wrong at random."""

import copy
import math

#: What a reader does not expect in place of a value.
WEIRD = (
    None, True, -1, 0, 1.5, 1e308, math.inf, math.nan, 10**30, 10**400, '', 'x', '\x1b[31m', '\udcff',
    'é\n', '../..', 'a' * 300, [], {}, [[]], {'a': 1}, [1, 2, 3], [None], {'type': 'x'},
)  # fmt: skip


def tree(value, rng):
    """A copy of nested dicts and lists with one to three changes."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        node = value
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            change = rng.random()
            if change < 0.7:
                node[key] = copy.deepcopy(rng.choice(WEIRD))
            elif change < 0.85:
                del node[key]
            elif isinstance(node, dict):
                node[f'{key}s'] = node.pop(key)
            else:
                node.append(copy.deepcopy(node[key]))
            break
    return value


def data(content: bytes, rng) -> bytes:
    """Bytes that are cut, flipped, repeated or replaced."""
    content = bytearray(content)
    start = rng.randrange(len(content) or 1)
    end = min(len(content), start + rng.choice([1, 1, 4, 16, 64, 256]))
    change = rng.randrange(7)
    if change == 0:
        del content[start:]
    elif change == 1:
        del content[start:end]
    elif change == 2:
        content[start:end] = bytes(end - start)
    elif change == 3:
        content[start:end] = rng.randbytes(end - start)
    elif change == 4:
        content[start:start] = content[start:end]
    elif change == 5:
        for _ in range(rng.choice([1, 8, 64])):
            content[rng.randrange(min(len(content), rng.choice([32, 10**9])))] ^= (
                1 << rng.randrange(8)
            )
    else:
        content = rng.choice([b'', b'\0' * 100, rng.randbytes(100), b'[' * 10**5, content[::-1]])
    return bytes(content)
