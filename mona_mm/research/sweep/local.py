"""Running the jobs of a sweep on this machine."""
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from tqdm import tqdm

from mona_mm.errors import Interrupted

from .jobs import Job


@dataclass
class Outcome:
    """What became of a job.

    Attributes:
        job (Job): The job.
        state (str): ``'finished'``, ``'skipped'`` (was finished before),
            ``'failed'`` or ``'interrupted'``.
        reason (str): Why it failed.
        seconds (float): How long it took now.
    """
    job: Job
    state: str
    reason: str = ''
    seconds: float = 0.0


@dataclass
class _Workers:
    """What runs now, and the places where it may run."""
    places: queue.Queue
    running: Dict[int, subprocess.Popen] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: bool = False

    def stop(self, *_) -> None:
        """Let every run save and end; start no other."""
        with self.lock:
            self.stopping = True
            for process in self.running.values():
                process.terminate()


def run_locally(jobs: Sequence[Job], at_once: Optional[int] = None,
                done: Callable[[Outcome], None] = lambda outcome: None
                ) -> List[Outcome]:
    """Run what is not finished, past failures, and tell how each ended.

    Args:
        jobs (Sequence[Job]): The jobs.
        at_once (int, optional): How many at a time. Defaults to as many as
            the GPUs allow, or one without GPUs, where the cores are shared
            evenly.
        done (Callable): Is told of every job as it ends, and at the start of
            those that were finished before.

    Returns:
        list[Outcome]: In the order of the jobs.

    Raises:
        ConfigError: If a work dir holds another run; nothing was started.
    """
    skipped = {i for i, job in enumerate(jobs) if job.state() == 'finished'}
    for job in jobs:
        job.claim()
    workers = _Workers(_places(jobs[0].gpus, at_once))
    outcomes = {i: Outcome(jobs[i], 'skipped') for i in sorted(skipped)}
    for outcome in outcomes.values():
        done(outcome)
    with _signals_to(workers), ThreadPoolExecutor(
            workers.places.qsize()) as pool, tqdm(
                total=len(jobs), initial=len(skipped), unit='run',
                disable=None, file=sys.stderr) as bar:
        futures = {pool.submit(_run, jobs[i], workers): i
                   for i in range(len(jobs)) if i not in skipped}
        for future in as_completed(futures):
            outcome = outcomes[futures[future]] = future.result()
            bar.update()
            tqdm.write(_line(outcome), file=sys.stderr)
            done(outcome)
    return [outcomes[i] for i in range(len(jobs))]


def _run(job: Job, workers: _Workers) -> Outcome:
    place = workers.places.get()
    start = time.time()
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(job.log, 'ab') as log:
            with workers.lock:
                if workers.stopping:
                    return Outcome(job, 'interrupted', 'not started')
                process = subprocess.Popen(
                    job.command(), stdout=log, stderr=log,
                    stdin=subprocess.DEVNULL, env=dict(os.environ, **place),
                    start_new_session=True)
                workers.running[process.pid] = process
            status = process.wait()
        with workers.lock:
            del workers.running[process.pid]
    finally:
        workers.places.put(place)
    seconds = time.time() - start
    if status == 0 and job.state() == 'finished':
        return Outcome(job, 'finished', seconds=seconds)
    if workers.stopping or status == Interrupted.status:
        return Outcome(job, 'interrupted', f'status {status}', seconds)
    lines = job.log.read_text(errors='replace').strip().splitlines()
    last = lines[-1] if lines else 'it printed nothing'
    return Outcome(job, 'failed', f'status {status}: {last}', seconds)


def _places(gpus: int, at_once: Optional[int]) -> queue.Queue:
    """One environment per run at a time: its GPUs, or its share of cores."""
    ids = _gpu_ids() if gpus else []
    number = at_once or (max(len(ids) // gpus, 1) if ids else 1)
    places: queue.Queue = queue.Queue()
    for i in range(number):
        # Not the port that the environment may name: each takes a free one.
        place = dict(PORT='', MASTER_PORT='')
        if ids:
            own = [ids[(i * gpus + k) % len(ids)] for k in range(gpus)]
            place['CUDA_VISIBLE_DEVICES'] = ','.join(own)
        else:
            cores = max((os.cpu_count() or 1) // number, 1)
            # Threads that wait by spinning starve each other on shared cores.
            place.update({
                k: os.environ.get(k, v) for k, v in dict(
                    OMP_NUM_THREADS=str(cores), GOMP_SPINCOUNT='10000'
                ).items()}, CUDA_VISIBLE_DEVICES='')
        places.put(place)
    return places


def _gpu_ids() -> List[str]:
    import torch
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    if not torch.cuda.is_available():
        return []
    return named.split(',') if named else [
        str(i) for i in range(torch.cuda.device_count())]


@contextmanager
def _signals_to(workers: _Workers) -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM go to the workers."""
    old = {number: signal.signal(number, workers.stop)
           for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _line(outcome: Outcome) -> str:
    job, record = outcome.job, outcome.job.record()
    if outcome.state == 'finished':
        found = ', '.join(
            f'{k} {v:.4g}' for k, v in list(record['last'].items())[:2])
        return f'{job.name}: finished in {outcome.seconds:.0f} s ({found})'
    return f'{job.name}: {outcome.state} ({outcome.reason}); see {job.log}'


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the counts, and every run that is not finished."""
    counts = Counter(outcome.state for outcome in outcomes)
    print(', '.join(f'{number} {state}' for state, number in counts.items()))
    for outcome in outcomes:
        if outcome.state not in ('finished', 'skipped'):
            print(f'- {outcome.job.name}: {outcome.state} '
                  f'({outcome.reason}); {outcome.job.log}')


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """0 if all is finished, 85 if interrupted, 1 if anything failed."""
    states = {outcome.state for outcome in outcomes}
    if 'interrupted' in states:
        return Interrupted.status
    return int('failed' in states)
