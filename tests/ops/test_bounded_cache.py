"""The bounded cache of tensors."""
import copy
import pickle

import torch

from mona_mm.ops.cache import BoundedCache, tensor_bytes


def value(numbers):
    return torch.zeros(numbers)  # 4 bytes each


def test_what_was_used_last_stays():
    cache = BoundedCache(max_bytes=100)
    made = []

    def get(key):
        return cache.get(key, lambda: made.append(key) or value(10))

    for key in ('a', 'b', 'a', 'c', 'a', 'b'):
        get(key)
    # 40 bytes each: two fit; b makes room for c, c for b
    assert made == ['a', 'b', 'c', 'b']
    assert cache.nbytes == 80


def test_what_is_larger_than_the_bound_is_not_kept():
    cache = BoundedCache(max_bytes=100)
    assert len(cache.get('big', lambda: value(30))) == 30
    assert cache.nbytes == 0


def test_bytes_of_nested_tuples():
    assert tensor_bytes((value(2), (value(3), 7), None)) == 20


def test_copies_and_pickles_start_empty():
    cache = BoundedCache(max_bytes=100)
    cache.get('a', lambda: value(10))
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert (other.nbytes, other.max_bytes) == (0, 100)
