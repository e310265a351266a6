#!/usr/bin/env python
"""Kill trainings at random moments, and see that each goes on.

    python tests/stress/kill_test.py --runs 100

Every run trains a tiny tuned model with random settings of the checkpoint
hook and is killed with SIGKILL from outside: every second one while it saves,
the others anywhere. Then all files in its work dir must be whole,
``last_checkpoint`` must name one, the run must go on from it to the end with
the losses of the uninterrupted run, and at most one save interval is lost.
"""
import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

import runs  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402

from mona_mm.checkpoint import read_checkpoint  # noqa: E402
from mona_mm.engine.resumable.newest import newest_checkpoint  # noqa: E402

LENGTH = 18  # iterations of a whole run


class Teller(Hook):
    """Tells the parent through a pipe when a save begins and ends."""

    def __init__(self, pipe: int, priority: str, told: bytes) -> None:
        self.pipe, self.priority, self.told = pipe, priority, told

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        if self.told == b'S':
            os.write(self.pipe, b'S')

    def after_train_iter(self, *args, **kwargs) -> None:
        if self.told == b'E':  # comes after the checkpoint hook
            os.write(self.pipe, b'E')

    after_train_epoch = after_val_epoch = after_train_iter


def settings(rng: random.Random) -> dict:
    """Random options of the checkpoint hook."""
    by_epoch = rng.random() < 0.3
    return dict(
        by_epoch=by_epoch,
        hook=dict(
            interval=1 if by_epoch else rng.randint(1, 4),
            max_keep_ckpts=rng.choice([-1, 1, 2]),
            **rng.choice([
                {},
                dict(save_best='accuracy', rule='greater'),
            ])))


def interval_of(chosen: dict) -> int:
    return 6 if chosen['by_epoch'] else chosen['hook']['interval']


def train(folder: Path, base: str, chosen: dict, pipe=None, resume=None):
    """Train in a child of this process; return its number."""
    child = os.fork()
    if child:
        return child
    sink = os.open(folder.parent / 'children.log',
                   os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    code = 1
    try:
        cfg = runs.config(folder, base, randomness=dict(seed=3), **chosen)
        runner = runs.start(cfg, resume)
        if pipe is not None:
            runner.register_hook(Teller(pipe, 'VERY_HIGH', b'S'))
            runner.register_hook(Teller(pipe, 'LOWEST', b'E'))
        runner.train()
        code = 0
    finally:
        os._exit(code)


def kill(child: int, pipe: int, rng: random.Random, inside: bool,
         seconds: dict) -> str:
    """Kill a child; return 'saving', 'elsewhere' or 'finished'."""
    if inside:
        for _ in range(rng.randint(1, 4)):  # the n-th save
            if not wait_for(b'S', pipe, child):
                break
        time.sleep(rng.uniform(0, seconds['save']))
    else:
        wait_for(b'E', pipe, child)  # not while the model is being built
        time.sleep(rng.uniform(0, seconds['run']))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        return 'finished'
    rest = drain(pipe)
    return 'saving' if rest.endswith(b'S') or (
        not rest and inside) else 'elsewhere'


def wait_for(told: bytes, pipe: int, child: int) -> bool:
    while True:
        got = os.read(pipe, 1)
        if got in (told, b''):
            return got == told


def drain(pipe: int) -> bytes:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 65536)
    except BlockingIOError:
        return b''


def measure(folder: Path, base: str) -> dict:
    """The seconds of a save and of a run, for the choice of moments."""
    read, write = os.pipe()
    child = train(folder, base, dict(by_epoch=False,
                                     hook=dict(interval=1)), write)
    os.close(write)
    saves, begun, first = [], None, None
    while told := os.read(read, 1):
        now = time.monotonic()
        first = first or now
        if told == b'S':
            begun = now
        elif begun is not None:
            saves.append(now - begun)
            begun = None
    os.waitpid(child, 0)
    return dict(save=sorted(saves)[len(saves) // 2], run=now - first)


def check(folder: Path, base: str, chosen: dict, whole: dict) -> dict:
    """Go on after a kill; raise if anything is not as promised."""
    files = sorted(folder.glob('*.pth'))
    for path in files:
        read_checkpoint(str(path))  # raises on a torn one
    pointer = folder / 'last_checkpoint'
    if pointer.exists():
        assert Path(pointer.read_text()).is_file(), pointer.read_text()
    seen = runs.losses(folder) if (folder / 'losses.txt').exists() else {}
    done = max(seen, default=-1) + 1
    cfg = Config(dict(runs.config(folder, base, **chosen)))
    start = newest_checkpoint(cfg)
    at = read_checkpoint(start)['meta']['iter'] if start else 0
    # An interval, and the iteration that was under way or being saved.
    assert done - at <= interval_of(chosen), (done, at)
    child = train(folder, base, chosen, resume='auto')
    status = os.waitpid(child, 0)[1]
    assert status == 0, f'resuming ended with {status}'
    after = runs.losses(folder)
    assert after == whole, {
        i: (after.get(i), whole[i]) for i in whole if after.get(i) != whole[i]}
    partial = list(folder.glob('*.part'))
    assert not partial or at == LENGTH, partial
    return dict(lost=done - at, resumed=start is not None)


def main() -> None:
    """Run the kills and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--runs', type=int, default=100)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(args.seed)
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base = runs.save_base(root / 'base.pth')
        seconds = measure(root / 'whole', base)
        whole = runs.losses(root / 'whole')
        assert len(whole) == LENGTH
        print(f'a save takes {seconds["save"] * 1000:.0f} ms, a run '
              f'{seconds["run"]:.2f} s', flush=True)
        number = 0
        half = (args.runs + 1) // 2
        while min(counts['saving'], counts['elsewhere']) < half:
            number += 1
            folder = root / f'run{number}'
            folder.mkdir()
            chosen = settings(rng)
            inside = counts['saving'] <= counts['elsewhere']
            read, write = os.pipe()
            child = train(folder, base, chosen, write)
            os.close(write)
            where = kill(child, read, rng, inside, seconds)
            os.close(read)
            counts[where] += 1
            if where == 'finished':
                continue
            counts['torn partial files'] += len(list(folder.glob('*.part')))
            try:
                found = check(folder, base, chosen, whole)
            except Exception:
                print((root / 'children.log').read_text()[-4000:])
                print(f'FAILED: run {number}, {where}, {chosen}', flush=True)
                raise
            counts['resumed' if found['resumed'] else
                   'killed before the first checkpoint'] += 1
            counts['most iterations lost'] = max(
                counts['most iterations lost'], found['lost'])
            if number % 10 == 0:
                print(dict(counts), flush=True)
    killed = counts['saving'] + counts['elsewhere']
    print(f'{killed} runs killed, all went on with the losses of the '
          f'uninterrupted run: {dict(counts)}')


if __name__ == '__main__':
    main()
