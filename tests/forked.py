"""Work in two processes, which take no time to start."""
import os
import socket
import traceback
from typing import Callable, List, Optional

import torch
from mmengine.config import Config

from mona_mm.engine import launch
from mona_mm.engine.device import leave_group
from mona_mm.engine.shard import set_shard
from mona_mm.errors import Interrupted


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def in_two(job: Callable[[], None]) -> List[int]:
    """Do something in two children of this process; return their statuses.

    They know of each other as a launcher would tell them.
    """
    port, children = free_port(), []
    for rank in (0, 1):
        child = os.fork()
        if not child:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank),
                              WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                              MASTER_PORT=str(port))
            _do_and_exit(job)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]


def fork_two(cfg, resume=None, shard: Optional[str] = None) -> List[int]:
    """Train in two children of this process; return their statuses."""

    def train() -> None:
        made = Config(dict(cfg, launcher='pytorch', experiment_name='pair'))
        if shard:
            set_shard(made, shard)
        launch.set_resumable(made)
        launch.set_resume(made, resume)
        launch.run(made, lambda runner: runner.train())

    return in_two(train)


def _do_and_exit(job: Callable[[], None]) -> None:
    status = 1
    try:
        # The parent's threads are gone: new ones, before several want them.
        torch.set_num_threads(1)
        job()
        leave_group()
        status = 0
    except Interrupted as stopped:
        status = stopped.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
